"""Writes models with the torch that runs it into the current folder; run by test_model_torch.py."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from typing import Any

import torch


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.linear = torch.nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.relu(self.norm(self.convolution(x))).mean((2, 3)))


class Text(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(100, 16)
        self.linear = torch.nn.Linear(16, 4)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.embedding(input_ids) * attention_mask.unsqueeze(-1).to(torch.float32)
        return {"logits": self.linear(hidden), "pooled": hidden.mean(1).to(torch.bfloat16)}


class Runs:
    """What a hostile pickle holds: it makes the file RAN."""

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {os.path.abspath('RAN')}",))


def changed(source: str, target: str, change: Callable[[str, bytes], bytes]) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))


def saved(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


torch.manual_seed(0)
net, text = Net().eval(), Text().eval()
image = torch.randn(2, 3, 16, 16)
ids, mask = torch.arange(14).reshape(2, 7), torch.ones(2, 7, dtype=torch.int64)
batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=2)
height, width = torch.export.Dim("H", min=4), torch.export.Dim("W", min=4)
torch.export.save(torch.export.export(net, (image,)), "net.pt2")
torch.export.save(torch.export.export(net, (image,), dynamic_shapes={"x": {0: batch}}), "batch.pt2")
free = {"x": {0: batch, 2: height, 3: width}}
torch.export.save(torch.export.export(net, (image,), dynamic_shapes=free), "free.pt2")
axes = {0: batch, 1: length}
both = {"input_ids": axes, "attention_mask": axes}
torch.export.save(torch.export.export(text, (ids, mask), dynamic_shapes=both), "text.pt2")
torch.jit.trace(net, image).save("net.ts")
torch.jit.script(net).save("scripted.pt")
torch.save(net.state_dict(), "state.pt")
torch.save({"model": net.state_dict(), "epoch": 3}, "checkpoint.pth")
torch.save(net.state_dict(), "legacy.pth", _use_new_zipfile_serialization=False)
torch.save(torch.nn.Linear(4, 2), "module.pt")
state = net.state_dict()
state["linear.bias"][3] = float("nan")
torch.save(state, "nan.pt")

torch.save({"w": torch.ones(2), "p": Runs()}, "evil.pt")
torch.save(Runs(), "evil.pth", _use_new_zipfile_serialization=False)
inputs = saved(((Runs(),), {}))
changed("net.pt2", "evil-inputs.pt2", lambda name, data: inputs if "sample_inputs" in name else data)


def expression(name: str, data: bytes) -> bytes:
    if "models/" not in name:
        return data
    program = json.loads(data)
    for size in program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]:
        if "as_expr" in size:
            size["as_expr"]["expr_str"] = f"__import__('os').system('touch {os.path.abspath('RAN')}')"
    return json.dumps(program).encode()


changed("batch.pt2", "evil-shape.pt2", expression)
