"""A model file of the user's, run in place of our own small models.

The part of the request that is named ``model``:

``path``: of the file; ``inputs``: an ``.npz`` with the inputs; ``golden``: an ``.npz`` with inputs and outputs of
another run; ``record``: an ``.npz`` is to be written (here to ``golden.npz`` in the request's ``folder``; the parent
moves it); ``shapes``: name of an input -> its shape; ``rtol`` and ``atol``; ``trust_pickle``.

- ``formats``: what a file is, by its content; ``onnx_file``, ``exported``, ``pickled``, ``safetensors`` look into it
  without loading it.
- ``arrays``: reading and writing ``.npz``; ``made``: inputs from a signature; ``compared`` and ``judged``: outputs held
  against others.
- ``running``: the steps, the same for all; ``with_torch``, ``with_onnxruntime``, ``with_openvino``, ``with_tensorrt``:
  how a framework loads and runs a model; ``weights``: files that hold tensors and nothing to run.

Nothing here unpickles what could run code, unless ``trust_pickle`` is set. A model is a program all the same: what it
computes, and the files that its operators name, are its own affair.
"""

from __future__ import annotations


class ModelError(Exception):
    """A file or an option that can't be used; its text is one sentence for the user, shown as it is."""
