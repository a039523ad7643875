"""Which DLLs every Windows has, for environments whose System32 is not there to be read.

Source: delvewheel 1.13.2, ``dll_lists`` (listings of System32 of fresh installations; there they decide what a wheel
need not bring), read in November 2026. Here: what both Windows 10 and Windows 11 for x64 have. Server Core and the N
editions lack some of them (Media Foundation); Windows on ARM lacks some 200 of the less common ones.
"""

from __future__ import annotations

from functools import cache

API_SETS = ("api-ms-", "ext-ms-")
"""Beginnings of names that are no files: Windows maps them to its own DLLs ("Windows API sets", Microsoft)."""
DRIVER = ("nvcuda.dll", "nvml.dll", "nvcuvid.dll", "nvencodeapi64.dll", "nvencodeapi.dll", "nvapi64.dll", "nvapi.dll",
          "nvoptix.dll", "nvofapi64.dll", "amdhip64.dll", "amdhip64_6.dll", "amdhip64_7.dll", "opencl.dll",
          "vulkan-1.dll")  # fmt: skip
"""In System32 only because a driver of a graphics card put them there."""
CPYTHON = ("vcruntime140.dll", "vcruntime140_1.dll")
"""Parts of the Visual C++ runtime that lie beside python.exe (delvewheel 1.13.2, ``ignore_by_abi_platform``: CPython
from 3.9 on, x64 and ARM64). msvcp140.dll is none of them."""
RUNTIME = ("vcruntime140", "msvcp140", "concrt140", "vccorlib140", "vcomp140", "vcamp140", "mfc140", "mfcm140")
"""Beginnings of the names of all DLLs of the Visual C++ 2015-2022 Redistributable (delvewheel, ``vc_redist``)."""
REDISTRIBUTABLE = "Microsoft Visual C++ Redistributable"
"""What brings those."""


@cache
def always_there() -> frozenset[str]:
    """Lower-case names, with ``.dll``."""
    return frozenset(f"{name}.dll" for name in NAMES.split())


def is_api_set(name: str) -> bool:
    """Is it the name of an API set?"""
    return name.lower().startswith(API_SETS)


def is_runtime(name: str) -> bool:
    """Is it a part of the Visual C++ runtime, under its own name?

    >>> is_runtime("MSVCP140_1.dll"), is_runtime("msvcp140-a4c2229bdc2a.dll"), is_runtime("msvcrt.dll")
    (True, False, False)
    """
    low = name.lower()
    start = next((start for start in RUNTIME if low.startswith(start)), None)
    return start is not None and low[len(start) : len(start) + 1] in ("_", ".", "u", "d") and low.endswith(".dll")


NAMES = """
aadauthhelper aadcloudap aadjcsp aadtb aadwamextension aboutsettingshandlers abovelockapphost accessibilitycpl
accountaccessor accountsrt acgenral aclayers acledit aclui acmigration acpbackgroundmanagerpolicy acppage acproxy
acspecfc actioncenter actioncentercpl actionqueue activationclient activationmanager activeds activesynccsp
activesyncprovider actxprxy acwinrt acxtrnal adaptivecards addressparser adhapi adhsvc admtmpl adprovider adrclient
adsldp adsldpc adsmsext adsnt advancedemojids advapi32 advpack aeinv aepic ajrouter amsi amsiproxy amstream
analog.shell.broker analogcommonproxystub apds aphostclient aphostservice apisethost.appexecutionalias apisetschema
apmon appcontracts appextension apphelp apphlpdm appidapi appidpolicyengineapi appidsvc appinfo appinfoext
applicationframe applockercsp appmanagementconfiguration appmgmts appmgr appmon appointmentactivation appointmentapis
appraiser appreadiness apprepapi appresolver appsruprov appvcatalog appvclientps appventstreamingmanager
appventsubsystemcontroller appventsubsystems64 appventvirtualization appvfilesystemmetadata appvintegration
appvmanifest appvorchestration appvpolicy appvpublishing appvreporting appvscripting appvsentinel appvstreamingux
appvstreammap appvterminator appxalluserstore appxapplicabilityblob appxapplicabilityengine appxdeploymentclient
appxdeploymentextensions.desktop appxdeploymentextensions.onecore appxdeploymentserver appxpackaging appxsip
appxstreamingdatasourceps appxsysprep archiveint aspnet_counters assignedaccesscsp assignedaccessmanager
assignedaccessmanagersvc assignedaccessproviderevents assignedaccessruntime assignedaccessshellproxy asycfilt atl
atlthunk atmlib audioendpointbuilder audioeng audiohandlers audiokse audioresourceregistrar audioses audiosrv
audiosrvpolicymanager auditcse auditnativesnapin auditpolcore auditpolicygpinterop authbroker authbrokerui
authentication authext authfwcfg authfwgp authhostproxy authui authz autopilot autoplay avicap32 avifil32 avrt
axinstsv azroles azroleui azsqlext backgroundmediapolicy bamsettingsclient barcodeprovisioningplugin basecsp basesrv
batmeter bcastdvr.proxy bcastdvrbroker bcastdvrclient bcastdvrcommon bcastdvruserservice bcd bcdprov bcdsrv bcp47langs
bcp47mrm bcrypt bcryptprimitives bdehdcfglib bderepair bdesvc bdesysprep bdeui bfe bi bidispl bingasds bingfilterds
bingmaps bingonlineservices biocredprov bisrv bitlockercsp bitsigd bitsperf bitsproxy biwinrt blb_ps bluetoothapis
bluetoothdesktophandlers bnmanager bootmenuux bootux bootvid brokerlib browcli browserbroker browseui btagservice
bthavctpsvc bthavrcp bthavrcpappsvc bthci bthmtpcontexthandler bthpanapi bthpancontexthandler bthradiomedia bthserv
bthtelemetry btpanui bwcontexthandler c_g18030 c_gsm7 c_is2022 c_iscii cabapi cabinet cabview callbuttons
callbuttons.proxystub callhistoryclient cameracaptureui capabilityaccesshandlers capabilityaccessmanager
capabilityaccessmanagerclient capauthz capiprovider capisp captureservice castingshellext castlaunch catsrv catsrvps
catsrvut cbdhsvc cca cdosys cdp cdprt cdpsvc cdpusersvc cellulardatacapabilityhandler cemapi certca certcli
certcredprovider certenc certenroll certenrollui certmgr certpkicmdlet certpoleng certprop cewmdm cfgbkend cfgmgr32
cfgspcellular cfgsppolicy cflapi cfmifs cfmifsproxy chakra chakradiag chakrathunk chartv chatapis chsstrokeds
chtbopomofods chtcangjieds chthkstrokeds chtquickds chxapds chxdecoder chxhapds chxinputrouter chxranker
chxreadingstringime ci cic circoinst ciwmi clb clbcatq cldapi cleanpccsp clfsw32 cliconfg clipboardserver clipc
clipsvc cloudap clouddomainjoinaug clouddomainjoindatamodelserver cloudexperiencehost cloudexperiencehostbroker
cloudexperiencehostcommon cloudexperiencehostuser clrhost clusapi cmcfg32 cmdext cmdial32 cmgrcspps cmifw cmintegrator
cmlua cmpbk32 cmstplua cmutil cngcredui cngprovider cnvfat cofiredm colbact colorcnv colorui combase comcat comctl32
comdlg32 coml2 composableshellproxystub composerframework comppkgsup compstui computecore computenetwork
computestorage comrepl comsnap comsvcs comuid configmanager2 configureexpandedstorage conhostv1 connect
connectedaccountstate consentexperiencecommon consentux consentuxclient console consolelogon constraintindex.search
contactactivation contactapis contactharvesterds container contentdeliverymanager.utilities coreaudiopolicymanagerext
coredpus coremessaging coreshell coreshellapi coreshellextframework coreuicomponents correngine courtesyengine
cpfilters creddialogbroker credprov2fahelper credprovdatamodel credprovhelper credprovhost credprovs credprovslegacy
credssp credui crypt32 cryptbase cryptcatsvc cryptdlg cryptdll cryptext cryptnet cryptngc cryptowinrt cryptsp cryptsvc
crypttpmeksvc cryptui cryptuiwizard cryptxml cscapi cscdll cscmig cscobj cscsvc cscui cspcellularsettings csplte
cspproxy csrsrv csystemeventsbrokerclient cxcredprov cxhprovisioningserver d2d1 d3d10 d3d10_1 d3d10_1core d3d10core
d3d10level9 d3d10warp d3d11 d3d11on12 d3d12 d3d8thk d3d9 d3d9on12 d3dcompiler_47 d3dscache dab dabapi daconn
dafaspinfraprovider dafbth dafdnssd dafdockingprovider dafgip dafiot dafipp dafpos dafprintprovider dafupnp dafwcn
dafwfdprovider dafwiprov dafwsd damediamanager damm daotpcredentialprovider das dataclen dataexchange datusage davclnt
davhlpr davsyncprovider daxexec dbgcore dbgeng dbghelp dbgmodel dbnetlib dbnmpntw dciman32 dcntel dcomp ddaclsys
ddcclaimsapi ddccomimplementationsdesktop ddds ddisplay ddoiproxy ddores ddp_ps ddpchunk ddptrace ddputils ddraw
ddrawex defaultdevicemanager defaultprinterprovider defragproxy defragsvc delegatorprovider deskadp deskmon
desktopshellappstatecontract desktopshellext desktopswitcherdatamodel desktopview.internal.broker
desktopview.internal.broker.proxystub devdispitemprovider developeroptionssettingshandlers devenum deviceaccess
deviceassociation devicecenter devicecredential devicedirectoryclient devicedisplaystatusmanager
devicedriverretrievalclient deviceelementsource deviceflows.datamodel devicemetadataretrievalclient devicengccredprov
devicepairing devicepairingexperiencemem devicepairingfolder devicepairingproxy devicereactivation deviceregistration
devicesetupmanager devicesetupmanagerapi devicesetupstatusprovider devicesflowbroker devicesoftwareinstallationclient
deviceupdateagent deviceuxres devinv devmgr devobj devpropmgr devquerybroker devrtl dfdts dfscli dfshim dfsshlex
dggpext dhcpcmonitor dhcpcore dhcpcore6 dhcpcsvc dhcpcsvc6 dhcpsapi dholographicdisplay diagcpl diagnosticinvoker
diagnosticlogcsp diagperf diagsvc diagtrack dialclient dialserver dictationmanager difxapi dimsjob dimsroam dinput
dinput8 direct2ddesktop directmanipulation directml discan dismapi dispbroker dispex display displaymanager dlnashext
dmalertlistener.proxystub dmapisetextimpldesktop dmcfgutils dmcmnutils dmcommandlineutils dmcsps dmdlgs dmdskmgr
dmenrollengine dmenterprisediagnostics dmintf dmiso8601utils dmloader dmocx dmoleaututils dmprocessxmlfiltered
dmpushproxy dmpushroutercore dmrcdecoder dmrserver dmsynth dmusic dmutil dmvdsitf dmwappushsvc dmwmicsp dmxmlhelputils
dnsapi dnscmmc dnsext dnshc dnsrslvr docking.virtualinput dockinterface.proxystub docprop dolbydecmft domgmt
dosettings dosvc dot3api dot3cfg dot3conn dot3dlg dot3gpclnt dot3gpui dot3hc dot3mm dot3msm dot3svc dot3ui dpapi
dpapiprovider dpapisrv dpnaddr dpnathlp dpnet dpnhpast dpnhupnp dpnlobby dps dpx dragdropexperiencecommon
dragdropexperiencedataexchangedelegated drprov drt drtprov drttransport drvsetup drvstore dsauth dsccore
dsccoreconfprov dsclient dscproxy dsctimer dsdmo dskquota dskquoui dsound dsparse dsprop dsquery dsreg dsrole dssec
dssenh dssvc dsui dsuiext dswave dtsh ducsps dui70 duser dusmapi dusmsvc dwmapi dwmcore dwmghost dwminit dwmredir
dwrite dxdiagn dxgi dxgwdi dxilconv dxmasf dxp dxpps dxptasksync dxtmsft dxtrans dxva2 dynamoapi eamprogresshandler
eapp3hst eappcfg eappcfgui eappgnui eapphost eappprxy eapprovp eapsimextdesktop eapsvc easconsent easinvoker.proxystub
easpolicymanagerbrokerps easwrt edgeangle edgecontent edgehtml edgeiso edgemanager editbuffertesthook
editionupgradehelper editionupgrademanagerobj edpauditapi edpcsp edptask edputil eeprov eeutil efsadu efscore efsext
efslsaext efssvc efsutil efswrt ehstorapi ehstorpwdmgr ehstorshell els elscore elshyph elslad elstrans emailapis
embeddedmodesvc embeddedmodesvcapi emojids encapi energy energyprov energytask enrollmentapi enterpriseapncsp
enterpriseappmgmtclient enterpriseappmgmtsvc enterpriseappvmgmtcsp enterprisecsps enterprisedesktopappmgmtcsp
enterprisemodernappmgmtcsp enterpriseresourcemanager eqossnap errordetails errordetailscore es esdsip esent esentprf
esevss eshims ethernetmediamanager etwrundown euiccscsp eventaggregation eventcls evr execmodelclient execmodelproxy
explorerframe exsmime extrasxmlparser f3ahvoas facecredentialprovider family.authentication family.cache family.client
family.syncengine familysafetyext faultrep faxprinterinstaller fdbth fdbthproxy fddevquery fde fdeploy fdphost fdpnp
fdprint fdproxy fdrespub fdssdp fdwcn fdwnet fdwsd feclient ffbroker fhcat fhcfg fhcleanup fhcpl fhengine fhevents
fhsettingsprovider fhshl fhsrchapi fhsrchph fhsvc fhsvcctl fhtask fhuxgraphics fidocredprov
fileappxstreamingdatasource filemgmt filterds findnetprinters fingerprintcredential firewallapi firewallcontrolpanel
flightsettings fltlib fluencyds fmapi fmifs fms fntcache fontext fontglyphanimator fontgroupsoverride fontprovider
fontsub fphc framedyn framedynos frameserver frprov fsutilext fthsvc fundisc fveapi fveapibase fvecerts fvecpl
fveskybackup fveui fvewiz fwbase fwcfg fwmdmcsp fwpolicyiomgr fwpuclnt fwremotesvr fxsapi fxscom fxscomex fxscompose
fxsmon fxsroute fxsst fxst30 fxstiff fxsutility gamebarpresencewriter.proxy gamechatoverlayext gamechattranscription
gamemode gamepanelexternalhook gameux gamingtcui gcdef gdi32 gdi32full gdiplus generaltel geocommon geolocation
getuname glmf32 globinputhost glu32 gmsaclient gpapi gpedit gpprefcl gpprnext gpscript gpsvc gptext graphicscapture
graphicsperfsvc groupinghc hal halextintclpiodma halextpl080 hascsp hashtagds hbaapi hcproviders hdcphandler heatcore
helppaneproxy hgcpl hhsetup hid hidserv hlink hmkd hnetcfg hnetcfgclient hnetmon hologramcompositor hologramworld
holographicextensions holographicruntimes holoshellruntime holoshextensions holosi.pcshell hotplug hrtfapo httpapi
httpprxc httpprxm httpprxp httpsdatasource htui hvhostsvc hvloader hvsigpext hvsocket hydrogen ias iasacct iasads
iasdatastore iashlpr iasmigplugin iasnap iaspolcy iasrad iasrecst iassam iassdo iassvcs icfupgd icm32 icmp icmui
iconcodecservice icsigd icsvc icsvcext icuin icuuc idctrls idstore ieadvpack ieapfltr iedkcs32 ieframe iemigplugin
iepeers ieproxy iernonce iertutil iesetup iesysprep ieui ifmon ifsutil ifsutilx igddiag ihds ikeext imagehlp imapi
imapi2 imapi2fs imgutil imm32 implatsetup indexeddblegacy inetcomm inetmib1 inetpp inetppui inked inkobjcore
inproclogger input inputcontroller inputhost inputinjectionbroker inputlocalemanager inputservice inputswitch inseng
installservice installservicetasks internetmail internetmailcsp invagent iotassignedaccesslockframework
ipeloggingdictationhelper iphlpapi iphlpsvc ipnathlp ipnathlpclient iprtprio iprtrmgr ipsecsnp ipsecsvc ipsmsnap
ipxlatcfg iri iscsicpl iscsidsc iscsied iscsiexe iscsium iscsiwmi iscsiwmiv2 ism itircl itss iuilp iumbase iumcrypt
iumdll iumsdk iyuv_32 javascriptcollectionagent joinproviderol joinutil jpmapcontrol jpndecoder jpninputrouter
jpnranker jpnserviceds jscript jscript9 jscript9diag jsproxy kbd101 kbd101a kbd101b kbd101c kbd103 kbd106 kbd106n
kbda1 kbda2 kbda3 kbdal kbdarme kbdarmph kbdarmty kbdarmw kbdax2 kbdaze kbdazel kbdazst kbdbash kbdbe kbdbene kbdbgph
kbdbgph1 kbdbhc kbdblr kbdbr kbdbu kbdbug kbdbulg kbdca kbdcan kbdcher kbdcherp kbdcr kbdcz kbdcz1 kbdcz2 kbdda
kbddiv1 kbddiv2 kbddv kbddzo kbdes kbdest kbdfa kbdfar kbdfc kbdfi kbdfi1 kbdfo kbdfr kbdfthrk kbdgae kbdgeo kbdgeoer
kbdgeome kbdgeooa kbdgeoqw kbdgkl kbdgn kbdgr kbdgr1 kbdgrlnd kbdgthc kbdhau kbdhaw kbdhe kbdhe220 kbdhe319 kbdheb
kbdhebl3 kbdhela2 kbdhela3 kbdhept kbdhu kbdhu1 kbdibm02 kbdibo kbdic kbdinasa kbdinbe1 kbdinbe2 kbdinben kbdindev
kbdinen kbdinguj kbdinhin kbdinkan kbdinmal kbdinmar kbdinori kbdinpun kbdintam kbdintel kbdinuk2 kbdir kbdit kbdit142
kbdiulat kbdjav kbdjpn kbdkaz kbdkhmr kbdkni kbdkor kbdkurd kbdkyr kbdla kbdlao kbdlisub kbdlisus kbdlk41a kbdlt
kbdlt1 kbdlt2 kbdlv kbdlv1 kbdlvst kbdmac kbdmacst kbdmaori kbdmlt47 kbdmlt48 kbdmon kbdmonmo kbdmonst kbdmyan kbdne
kbdnec kbdnec95 kbdnecat kbdnecnt kbdnepr kbdnko kbdno kbdno1 kbdnso kbdntl kbdogham kbdolch kbdoldit kbdosm kbdpash
kbdphags kbdpl kbdpl1 kbdpo kbdro kbdropr kbdrost kbdru kbdru1 kbdrum kbdsf kbdsg kbdsl kbdsl1 kbdsmsfi kbdsmsno
kbdsn1 kbdsora kbdsorex kbdsors1 kbdsorst kbdsp kbdsw kbdsw09 kbdsyr1 kbdsyr2 kbdtaile kbdtajik kbdtam99 kbdtat kbdth0
kbdth1 kbdth2 kbdth3 kbdtifi kbdtifi2 kbdtiprc kbdtiprd kbdtt102 kbdtuf kbdtuq kbdturme kbdtzm kbdughr kbdughr1 kbduk
kbdukx kbdur kbdur1 kbdurdu kbdus kbdusa kbdusl kbdusr kbdusx kbduzb kbdvntc kbdwol kbdyak kbdyba kbdycc kbdycl kd
kd_02_10df kd_02_10ec kd_02_1137 kd_02_14e4 kd_02_15b3 kd_02_1969 kd_02_19a2 kd_02_1af4 kd_02_8086 kd_07_1415
kd_0c_8086 kdcom kdcpw kdhvcom kdnet kdnet_uart16550 kdscli kdstub kdusb keepaliveprovider kerbclientshared kerberos
kernel.appcore kernel32 kernelbase keycredmgr keyiso keymgr keyworddetectormsftsidadapter knobscore knobscsp ksuser
ktmw32 l2gpstore l2nacp l2sechc langcleanupsysprepaction languagecomponentsinstaller languageoverlayserver
languageoverlayutil languagepackdiskcleanup laprxy legacynetux lfsvc libcrypto licensemanager licensemanagerapi
licensemanagersvc licensingcsp licensingdiagspp licensingwinrt licmgr10 linkinfo lltdapi lltdsvc lmhsvc loadperf
localsec localspl localui locationapi locationframework locationframeworkinternalps locationframeworkps
locationwinpalmisc lockappbroker lockcontroller lockhostingframework lockscreencontent lockscreencontenthost
lockscreendata loghours logoncli logoncontroller lpasvc lpk lpksetupproxyserv lsasrv lscshostpolicy lsm lsmproxy
lstelemetry luiapi lz32 magnification maintenanceui mapconfiguration mapcontrolcore mapgeocoder mapi32 mapistub
maprouter mapsbtsvc mapsbtsvcproxy mapscsp mapsstore mapstoasttask mapsupdatetask mbaeapi mbaeapipublic mbmediamanager
mbsmsapi mbussdapi mccsengineshared mccspal mciavi32 mcicda mciqtz32 mciseq mciwave mcrecvsrc mdmcommon mdmdiagnostics
mdminst mdmlocalmanagement mdmmigrator mdmpostprocessevaluator mdmregistration
mediafoundation.defaultperceptionprovider memorydiagnostic messagingdatamodel2 messagingservice mf mf3216 mfaacenc
mfasfsrcsnk mfaudiocnv mfc42 mfc42u mfcaptureengine mfcore mfcsubs mfds mfdvdec mfh263enc mfh264enc mfksproxy
mfmediaengine mfmjpegdec mfmkvsrcsnk mfmp4srcsnk mfmpeg2srcsnk mfnetcore mfnetsrc mfperfhelper mfplat mfplay mfps
mfreadwrite mfsensorgroup mfsrcsnk mfsvr mftranscode mfvdsp mfvfw mfwmaaec mgmtapi mgmtrefreshcredprov mi mibincodec
microsoft-windows-internal-shell-nearshareexperience microsoft.bluetooth.proxy microsoft.bluetooth.service
microsoft.bluetooth.userservice microsoft.graphics.display.displayenhancementservice
microsoft.management.infrastructure.native.unmanaged microsoft.uev.agentdriverevents microsoft.uev.appagent
microsoft.uev.commonbridge microsoft.uev.configwrapper microsoft.uev.eventlogmessages microsoft.uev.modernappagent
microsoft.uev.office2010customactions microsoft.uev.office2013customactions microsoft.uev.printercustomactions
microsoftaccountcloudap microsoftaccountextension microsoftaccounttokenprovider microsoftaccountwamextension midimap
migisol miguiresource mimefilt mimofcodec miracastinputmgr miracastreceiver mirrordrvcompat mispace
mitigationconfiguration miutils mixedreality.broker mixedrealitycapture.pipeline mlang mmcbase mmcndmgr mmcshext
mmdevapi mmgaclient mmgaproxystub mobilenetworking modemui modernexecserver moshost moshostclient moshostcore
mosstorage mp3dmod mp43decd mp4sdecd mpeval mpg4decd mpr mprapi mprddm mprdim mprext mprmsg mpssvc mpunits mrmcorer
mrmdeploy mrmindexer mrt100 mrt_map ms3dthumbnailprovider msaatext msac3enc msacm32 msafd msajapi msalacdecoder
msalacencoder msamrnbdecoder msamrnbencoder msamrnbsink msamrnbsource msaprofilenotificationhandler msasn1 msauddecmft
msauserext mscandui mscat32 msclmd mscms mscoree mscories msctf msctfmonitor msctfp msctfui msctfuimanager msdadiag
msdart msdelta msdmo msdrm msdtckrm msdtclog msdtcprx msdtcspoffln msdtctm msdtcuiu msfeeds msfeedsbs msflacdecoder
msflacencoder msftedit msftoemdlligneous msheif mshtml mshtmldac mshtmled msi msicofire msidcrl40 msident msidle
msieftp msihnd msiltcfg msimg32 msimtf msisip msiso msiwer mskeyprotcli mskeyprotect msls31 msmpeg2adec msmpeg2enc
msmpeg2vdec msoert2 msopusdecoder mspatcha mspatchc msphotography msports msrahc msrating msrdc msrdpwebaccess msrle32
msscntrs mssecuser mssign32 mssip32 mssitlb msspellcheckingfacility mssph mssprxy mssrch mssvp mstask mstextprediction
mstscax msutb msv1_0 msvcirt msvcp110_win msvcp120_clr0400 msvcp60 msvcp_win msvcr120_clr0400 msvcrt msvfw32 msvidc32
msvidctl msvideodsp msvp9dec msvproc msvpxenc mswb7 mswebp mswmdm mswsock msxml3 msxml6 msyuv mtcmodel mtf
mtfappserviceds mtfdecoder mtffuzzyds mtfserver mtfspellcheckds mtxclu mtxdm mtxex mtxoci muifontsetup
muilanguagecleanup musdialoghandlers musupdatehandlers mycomput mydocs napcrypt napinsp naturalauth naturalauthclient
naturallanguage6 navshutdown ncaapi ncasvc ncbservice ncdautosetup ncdprop nci ncobjapi ncrypt ncryptprov ncryptsslp
ncsi ncuprov nddeapi ndfapi ndfetw ndfhcdiscovery ndishc ndproxystub nduprov negoexts netapi32 netbios netcenter
netcfgx netcorehc netdiagfx netdriverinstall netfxperf netid netiohlp netjoin netlogon netman netplwiz netprofm
netprofmsvc netprovfw netprovisionsp netsetupapi netsetupengine netsetupshim netsetupsvc netshell nettrace netutils
networkbindingenginemigplugin networkcollectionagent networkdesktopsettings networkexplorer networkhelper
networkitemfactory networkmobilesettings networkproxycsp networkuxbroker newdev nfcprovisioningplugin nfcradiomedia
ngccredprov ngcctnr ngcctnrgidshandler ngcctnrsvc ngcisoctnr ngckeyenum ngcksp ngclocal ngcpopkeysrv ngcprocsp
ngcrecovery ngcsvc ngctasks ninput nlaapi nlahc nlhtml nlmgp nlmproxy nlmsprep nlsdata0000 nlsdata0009 nlsdl nmadirect
normaliz notificationcontroller notificationcontrollerps notificationplatformcomponent npmproxy npsm
npsmdesktopprovider nrpsrv nshhttp nshipsec nshwfp nsi nsisvc ntasn1 ntdll ntdsapi ntlanman ntlanui2 ntlmshared
ntmarta ntprint ntshrui ntvdm64 objsel occache ocsetapi odbc32 odbcbcp odbcconf odbccp32 odbccr32 odbccu32 odbctrac
oemlicense offfilt officecsp offlinelsa offlinesam offreg ole32 oleacc oleacchooks oleaut32 oledlg oleprn omadmagent
omadmapi ondemandbrokerclient ondemandconnroutehelper onebackuphandler onecorecommonproxystub
onecoreuapcommonproxystub onex onexui opcservices opengl32 ortcengine osbaseln osksupport osuninst p2p p2pgraph
p2pnetsh p2psvc packager panmap pautoenr payloadrestrictions paymentmediatorserviceproxy pcacli pcadm pcasvc pcaui
pcpksp pcshellcommonproxystub pcsvdevice pcwum pcwutl pdh pdhui peerdist peerdistad peerdistcacheprovider
peerdistcleaner peerdisthttptrans peerdistsh peerdistsvc peerdistwsddiscoprov peopleapis peopleband
perceptionsimulation.proxystubs perceptionsimulationmanager perfdisk perfnet perfos perfproc perfts personalizationcsp
phonecallhistoryapis phoneom phoneplatformabstraction phoneproviders phoneservice phoneutil photometadatahandler
photowiz pickerplatform pid pidgenx pimindexmaintenance pimindexmaintenanceclient pimstore pinenrollmenthelper
pkeyhelper pku2u pla playlistfolder playsndsrv playtodevice playtomanager playtomenu playtoreceiver
playtostatusprovider ploptin pmcsnap pngfilt pnidui pnpclean pnppolicy pnpts pnpui pnpxassoc pnpxassocprx pnrpauto
pnrphc pnrpnsp pnrpsvc policymanager policymanagerprecheck polstore portabledeviceapi portabledeviceclassextension
portabledeviceconnectapi portabledevicestatus portabledevicesyncprovider portabledevicetypes portabledevicewiacompat
posyncservices pots powercpl powrprof ppcsnap prauthproviders presentationhostproxy print.workflow.source
printfilterpipelineprxy printisolationproxy printplatformconfig printrenderapihost printui printworkflowservice
printwsdahost prncache prnfldr prnntfy prntvpt productenumerator profapi profext profprov profsvc profsvcext propsys
provcore provdatastore provdiagnostics provengine provhandlers provisioningcommandscsp provisioningcsp
provisioninghandlers provmigrate provops provpackageapidll provplatformdesktop provplugineng provsysprep provthrd
proximitycommon proximitycommonpal proximityrtapipal proximityservice proximityservicepal prvdmofcomp psapi pshed
psisdecd psmodulediscoveryprovider psmserviceexthost psmsrv pstask pstorec ptpprov puiapi puiobj pushtoinstall
pwlauncher pwrshplugin pwsso qasf qcap qdv qdvd qedit qmgr quartz query quickactionsdatamodel quiethours qwave racengn
racpldlg radardt radarrs radcui rasadhlp rasapi32 rasauto raschap raschapext rasctrs rascustom rasdiag rasdlg rasgcw
rasman rasmans rasmbmgr rasmediamanager rasmm rasmontr rasplap rasppp rastapi rastls rastlsext rdbui rdpbase rdpcfgex
rdpcorets rdpendp rdprelaytransport rdpsaps rdpserverbase rdsappxhelper rdsdwmdr rdvvmtransport rdxservice
rdxtaskfactory reagent reagenttask recovery regapi regctrl regidle regsvc reguwpapi reinfo
remoteapplifetimemanagerproxystub remoteaudioendpoint remotepg remotewipecsp removablemediaprovisioningplugin
removedevicecontexthandler removedeviceelevated reportingcsp resampledmo reseteng resetengine resetengonline
resourcemapper resourcepolicyclient resourcepolicyserver resutils rgb9rast riched20 rjvmdmconfig rmapi rmclient
rmsroamingsecurity rnr20 roamingsecurity rometadata rotmgr rpcepmap rpchttp rpcns4 rpcnsh rpcrt4 rpcrtremote rpcss
rsaenh rshx32 rstrtmgr rtffilt rtm rtmcodecs rtmediaframe rtmmvrortc rtmpal rtmpltfm rtutils rtworkq rulebasedds
samcli samlib samsrv sas sbe sbeio sbservicetrigger scansetting scardbi scarddlg scardsvr scavengeui scdeviceenum
scecli scesrv schannel schedcli schedsvc scksp scripto scrobj scrptadm scrrun sdcpl sdds sdengin2 sdfhost sdhcinst
sdiageng sdiagprv sdiagschd sdohlp sdrsvc sdshext search.protocolhandler.mapi2 searchfolder sebbackgroundmanagerpolicy
sechost seclogon secproc secproc_isv secproc_ssp secproc_ssp_isv secur32 secureassessmenthandlers securetimeaggregator
security securitycenterbroker securitycenterbrokerps securityhealthagent securityhealthproxystub securityhealthsso
semgrps semgrsvc sendmail sens sensapi sensorsapi sensorsclassextension sensorservice sensorsnativeapi
sensorsnativeapi.v2 sensorsutilsv2 sensrsvc serialui serwvdrv sessenv setbcdlocale setnetworklocation
setnetworklocationflyout setproxycredential settingsenvironment.desktop settingsextensibilityhandlers
settingshandlers_accessibility settingshandlers_analogshell settingshandlers_appcontrol
settingshandlers_appexecutionalias settingshandlers_assignedaccess settingshandlers_backgroundapps
settingshandlers_batteryusage settingshandlers_capabilityaccess settingshandlers_closedcaptioning
settingshandlers_contentdeliverymanager settingshandlers_cortana settingshandlers_devices settingshandlers_display
settingshandlers_flights settingshandlers_fonts settingshandlers_gaming settingshandlers_geolocation
settingshandlers_gpu settingshandlers_hololens_environment settingshandlers_inkingtypingprivacy
settingshandlers_inputpersonalization settingshandlers_language settingshandlers_managephone settingshandlers_maps
settingshandlers_notifications settingshandlers_nt settingshandlers_onecore_batterysaver settingshandlers_pcdisplay
settingshandlers_pen settingshandlers_region settingshandlers_sharedexperiences_rome settingshandlers_siuf
settingshandlers_speechprivacy settingshandlers_startup settingshandlers_storagesense settingshandlers_troubleshoot
settingshandlers_user settingshandlers_useraccount settingshandlers_workaccess setupapi setupcln sfc sfc_os
sgrmenclave sgrmenclave_secure shacct shacctprofile sharedpccsp sharedrealitysvc sharehost sharemediacpl shcore
shdocvw shell32 shellcommoncommonproxystub shfolder shgina shimeng shimgvw shlwapi shpafact shsetup shsvcs shunimpl
shutdownext shutdownux shwebsvc signdrv simauth simcfg skci slc slcext slwga smartcardbackgroundpolicy
smartcardcredentialprovider smartcardsimulator smartscreenps smbhelperclass smbwmiv2 smiengine smphost smsroutersvc
sndvolsso snmpapi socialapis softkbd softpub sortserver2003compat sortwindows61 sortwindows6compat spacebridge
spacecontrol spatializerapo spatialstore spbcd spectrumsyncclient speechpal spfileq spinf spmpm spnet spoolss spopk
spp sppc sppcext sppcomapi sppcommdlg sppnp sppobjs sppwinob sppwmi spwinsat spwizeng spwmp sqlsrv32 sqmapi srchadmin
srclient srcore srh srhelper srm srm_ps srmclient srmscan srmshell srmstormod srmtrace srpapi srpuxnativesnapin srrstr
srumapi srumsvc srvcli srvsvc srwmi sscore sscoreext ssdm ssdpapi ssdpsrv sspicli sspisrv ssshim sstpsvc starttiledata
startupscan staterepository.core stclient sti sti_ci stobject storagecontexthandler storageusage storagewmi
storagewmi_passthru storewuauth storprop storsvc streamci structuredquery sud svf svsvc switcherdatamodel swprv
sxproxy sxs sxshared sxssrv sxsstore synccenter synccontroller synchostps syncinfrastructure syncinfrastructureps
syncproxy syncreg syncsettings syncutil sysclass sysmain sysntfy syssetup systemcpl systemeventsbrokerclient
systemeventsbrokerserver systemsettings.datamodel systemsettings.deviceencryptionhandlers systemsettings.handlers
systemsettings.settingsextensibility systemsettings.useraccountshandlers systemsettingsthresholdadminflowui
systemsupportinfo t2embed tabbtn tabbtnex tabsvc tapi3 tapi32 tapilua tapimigplugin tapiperf tapisrv tapisysprep
taskapis taskbarcpl taskcomp taskflowdataengine taskschd taskschdps tbauth tbs tcbloader tcpipcfg tcpmib tcpmon
tcpmonui tdh tdlmigration telephonyinteractiveuser tellib tempsignedlicenseexchangetask termmgr termsrv
tetheringclient tetheringconfigsp tetheringieprovider tetheringmgr tetheringservice tetheringstation
textinputframework themecpl themeservice themeui threadpoolwinrt thumbcache tieringengineproxy tiledatarepository
timebrokerclient timebrokerserver timedatemuicallback timesynctask tlscsp tokenbinding tokenbroker tokenbrokerui
tpmcompc tpmcoreprovisioning tpmtasks tpmvsc tquery traffic transliterationranker transportdsa trie trkwks
trustedsignalcredprov tsbyuv tscfgwmi tserrredir tsgqec tsmf tspkg tspubwmi tssessionux tssrvlic tsusbgdcoinstaller
tsusbredirectiongrouppolicyextension tsworkspace ttdloader ttdplm ttdrecord ttdrecordcpu ttlsauth ttlscfg ttlsext
tvratings twext twinapi twinapi.appcore twinui twinui.appcore twinui.pcshell txflog txfw32 tzautoupdate ubpm ucmhc
ucrtbase ucrtbase_enclave udhisapi udwm ueficsp uexfat ufat uiamanager uianimation uiautomationcore uicom
uimanagerbrokerps uireng uiribbon ulib umb umdmxfrm umpnpmgr umpo umpo-overrides umpoext umpowmi umrdp unattend
unenrollhook unimdmat uniplat unistore untfs updateagent updatecsp updatepolicy upnp upnphost upshared urefs urefsv1
ureg url urlmon usbcapi usbceip usbmon usbperf usbpmapi usbsettingshandlers usbtask usbui user32
useraccountcontrolsettings useractivitybroker usercpl userdataaccountapis userdatalanguageutil
userdataplatformhelperutil userdataservice userdatatimeutil userdatatypehelperutil userdeviceregistration
userdeviceregistration.ngc userenv userinitext userlanguageprofilecallback usermgr usermgrcli usermgrproxy usoapi
usp10 ustprov utcutil utildll uudf uvcmodel uwfcfgmgmt uwfcsp uwfservicingapi uxinit uxlib uxtheme vac van vault
vaultcds vaultcli vaultroaming vaultsvc vbsapi vbscript vcardparser vds_ps vdsbas vdsdyn vdsutil vdsvd verifier
version vertdll vfuprov vfwwdm32 vid videohandlers vidreszr virtdisk vmapplicationhealthmonitorproxy vmbuspipe
vmdevicehost vmictimeprovider vmrdvcore vocabroaminghandler voiceactivationmanager voiprt vpnike vpnikeapi
vpnsohdesktop vpnv2csp vscmgrps vss_ps vssapi vsstrace w32time w32topl waasassessment waasmedicps waasmedicsvc
wabsyncprovider walletbackgroundserviceproxy walletproxy walletservice wavemsp wbemcomn wbiosrvc wc_storage wcimage
wcmapi wcmcsp wcmsvc wcnapi wcncsvc wcneapauthproxy wcneappeerproxy wcnnetsh wcnwiz wdc wdi wdigest wdscore webauthn
webcamui webcheck webclnt webio webplatstorageserver webruntimemanager webservices websocket wecapi wecsvc wephostsvc
wer werconcpl wercplsupport werdiagcontroller weretw wersvc werui wevtapi wevtfwd wevtsvc wfapigp wfdprov wfdsconmgr
wfdsconmgrsvc wfhc whealogr whhelper wiaaut wiadefui wiadss wiaextensionhost64 wiarpc wiascanprofiles wiaservc
wiashext wiatrace wificloudstore wificonfigsp wifidisplay wifinetworkmanager wimgapi win32_deviceguard
win32appinventorycsp win32compatibilityappraisercsp win32spl win32u winbio winbiodatamodel winbioext winbrand
wincorlib wincredprovider wincredui windowmanagement windows.accountscontrol windows.ai.machinelearning
windows.ai.machinelearning.preview windows.applicationmodel windows.applicationmodel.background.systemeventsbroker
windows.applicationmodel.background.timebroker windows.applicationmodel.core windows.applicationmodel.datatransfer
windows.applicationmodel.lockscreen windows.applicationmodel.store windows.applicationmodel.store.preview.dosettings
windows.applicationmodel.store.testingframework windows.applicationmodel.wallet windows.cloudstore
windows.cloudstore.schema.desktopshell windows.cloudstore.schema.shell windows.cortana.desktop windows.cortana.onecore
windows.cortana.proxystub windows.data.activities windows.data.pdf windows.devices.alljoyn windows.devices.background
windows.devices.background.ps windows.devices.bluetooth windows.devices.custom windows.devices.custom.ps
windows.devices.enumeration windows.devices.haptics windows.devices.humaninterfacedevice windows.devices.lights
windows.devices.lowlevel windows.devices.midi windows.devices.perception windows.devices.picker
windows.devices.pointofservice windows.devices.portable windows.devices.printers windows.devices.printers.extensions
windows.devices.radios windows.devices.scanners windows.devices.sensors windows.devices.serialcommunication
windows.devices.smartcards windows.devices.smartcards.phone windows.devices.usb windows.devices.wifi
windows.devices.wifidirect windows.energy windows.gaming.input windows.gaming.preview windows.gaming.ui.gamebar
windows.gaming.xboxlive.storage windows.globalization windows.globalization.fontgroups
windows.globalization.phonenumberformatting windows.graphics windows.graphics.display.brightnessoverride
windows.graphics.display.displayenhancementoverride windows.graphics.printing windows.graphics.printing.3d
windows.graphics.printing.workflow windows.graphics.printing.workflow.native windows.immersiveshell.serviceprovider
windows.internal.adaptivecards.xamlcardrenderer windows.internal.capturepicker windows.internal.capturepicker.desktop
windows.internal.devices.sensors windows.internal.feedback.analog windows.internal.feedback.analog.proxystub
windows.internal.graphics.display.displayenhancementmanagement windows.internal.management
windows.internal.management.secureassessment windows.internal.platformextension.devicepickerexperience
windows.internal.platformextension.miracastbannerexperience windows.internal.predictionunit
windows.internal.security.attestation.deviceattestation windows.internal.securitymitigationsbroker
windows.internal.shell.broker windows.internal.shellcommon.accountscontrolexperience
windows.internal.shellcommon.appresolvermodal windows.internal.shellcommon.broker
windows.internal.shellcommon.filepickerexperiencemem windows.internal.shellcommon.printexperience
windows.internal.shellcommon.shareexperience windows.internal.shellcommon.tokenbrokermodal windows.internal.signals
windows.internal.ui.bioenrollment.proxystub windows.internal.ui.logon.proxystub
windows.management.provisioning.proxystub windows.management.secureassessment.cfgprovider windows.management.service
windows.management.workplace windows.management.workplace.workplacesettings windows.media windows.media.audio
windows.media.backgroundmediaplayback windows.media.devices windows.media.editing windows.media.faceanalysis
windows.media.import windows.media.mediacontrol windows.media.mixedrealitycapture windows.media.ocr
windows.media.playback.backgroundmediaplayer windows.media.playback.mediaplayer windows.media.playback.proxystub
windows.media.protection.playready windows.media.renewal windows.media.speech windows.media.streaming
windows.media.streaming.ps windows.mirage windows.mirage.internal windows.networking
windows.networking.backgroundtransfer windows.networking.backgroundtransfer.backgroundmanagerpolicy
windows.networking.backgroundtransfer.contentprefetchtask windows.networking.connectivity windows.networking.hostname
windows.networking.networkoperators.esim windows.networking.networkoperators.hotspotauthentication
windows.networking.proximity windows.networking.servicediscovery.dnssd
windows.networking.sockets.pushenabledapplication windows.networking.ux.eaprequesthandler windows.networking.vpn
windows.networking.xboxlive.proxystub windows.payments windows.perception.stub
windows.security.authentication.identity.provider windows.security.authentication.onlineid
windows.security.authentication.web.core windows.security.credentials.ui.credentialpicker
windows.security.credentials.ui.userconsentverifier windows.security.integrity windows.services.targetedcontent
windows.sharedpc.accountmanager windows.sharedpc.credentialprovider windows.shell.bluelightreduction
windows.shell.servicehostbuilder windows.staterepository windows.staterepositorybroker windows.staterepositoryclient
windows.staterepositorycore windows.staterepositoryps windows.staterepositoryupgrade windows.storage
windows.storage.applicationdata windows.storage.compression windows.storage.onecore windows.storage.search
windows.system.diagnostics windows.system.diagnostics.telemetry.platformtelemetryclient
windows.system.diagnostics.tracereporting.platformdiagnosticactions windows.system.launcher
windows.system.profile.hardwareid windows.system.profile.platformdiagnosticsandusagedatasettings
windows.system.profile.retailinfo windows.system.profile.systemid windows.system.profile.systemmanufacturers
windows.system.remotedesktop windows.system.systemmanagement windows.system.userdeviceassociation
windows.system.userprofile.diagnosticssettings windows.ui windows.ui.accessibility windows.ui.appdefaults
windows.ui.biofeedback windows.ui.blockedshutdown windows.ui.core.textinput windows.ui.cred
windows.ui.creddialogcontroller windows.ui.immersive windows.ui.input.inking windows.ui.input.inking.analysis
windows.ui.internal.input.expressiveinput windows.ui.logon windows.ui.networkuxcontroller windows.ui.picturepassword
windows.ui.search windows.ui.shell windows.ui.storage windows.ui.xaml windows.ui.xaml.controls
windows.ui.xaml.inkcontrols windows.ui.xaml.maps windows.ui.xaml.phone windows.ui.xamlhost windows.warp.jitservice
windows.web windows.web.diagnostics windows.web.http windowscodecs windowscodecsext windowscodecsraw
windowsdefaultheatprocessor windowsdefenderapplicationguardcsp windowslivelogin windowsperformancerecordercontrol
winethc winfax winhttp winhttpcom winhvemulation winhvplatform wininet wininetlui wininitext winipcfile winipcsecproc
winipsec winlangdb winlogonext winmde winml winmm winmmbase winmsipc winmsoirmprotector winnsi winopcirmprotector
winrnr winrscmd winrssrv winrttracing winsatapi winscard winshfhc winsku winsockhc winsqlite3 winsrpc winsrv winsrvext
winsta winsync winsyncmetastore winsyncproviders wintrust wintypes winusb wirednetworkcsp wisp witnesswmiv2provider
wkscli wkspbrokerax wksprtps wkssvc wlanapi wlancfg wlanconn wlandlg wlangpui wlanhc wlanhlp wlanmediamanager wlanmm
wlanmsm wlanpref wlanradiomanager wlansec wlansvc wlansvcpal wlanui wlanutil wldap32 wldp wlgpclnt wlidcli
wlidcredprov wlidfdp wlidnsp wlidprov wlidsvc wmadmod wmadmoe wmasf wmcodecdspps wmdmlog wmdmps wmdrmsdk wmi wmiclnt
wmidcom wmidx wmiprop wmitomi wmnetmgr wmp wmpdui wmpdxm wmpeffects wmphoto wmpps wmpshell wmsgapi wmspdmod wmspdmoe
wmvcore wmvdecod wmvdspa wmvencod wmvsdecd wmvsencd wmvxencd woftasks wofutil wordbreakers workfolderscontrol
workfoldersgpext workfoldersshell workfolderssvc wosc wow64 wow64cpu wow64win wpbcreds wpc wpcapi wpcdesktopmonsvc
wpcrefreshtask wpcwebfilter wpd_ci wpdbusenum wpdshext wpdshserviceobj wpdsp wpnapps wpnclient wpncore wpninprc wpnprv
wpnservice wpnsruprov wpnuserservice wpportinglibrary wpprecorderum wptaskscheduler wpx ws2_32 ws2help wscapi
wscinterop wscisvif wsclient wscproxystub wscsvc wsdapi wsdchngr wsdprintproxy wsdscanproxy wsecedit wsepno wshbth
wshcon wshelper wshext wshhyperv wship6 wshqos wshrm wshtcpip wshunix wslapi wsmagent wsmanmigrationplugin wsmauto
wsmplpxy wsmsvc wsmwmipl wsnmp32 wsock32 wsp_fs wsp_health wsp_sr wsplib wtsapi32 wuapi wuaueng wuceffects
wudfcoinstaller wudfplatform wudfsmcclassext wudfx wudfx02000 wudriver wups wups2 wuuhext wuuhosdeployment wvc wwaapi
wwaext wwanapi wwancfg wwanconn wwanhc wwanmm wwanpref wwanprotdim wwanradiomanager wwansvc wwapi xamltilerender
xaudio2_8 xaudio2_9 xblauthmanager xblauthmanagerproxy xblauthtokenbrokerext xblgamesave xblgamesaveext
xblgamesaveproxy xboxgipradiomanager xboxgipsvc xboxgipsynthetic xboxnetapisvc xinput1_4 xinput9_1_0 xinputuap
xmlfilter xmllite xmlprovi xolehlp xpsdocumenttargetprint xpsgdiconverter xpsprint xpsrasterservice xpsservices
xwizards xwreg xwtpdui xwtpw32 zipcontainer zipfldr ztrace_maps
"""
