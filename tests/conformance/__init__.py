"""fastdl held against other people's test suites.

=======================  =====================================================  =========================
module                   what it runs                                           how much
=======================  =====================================================  =========================
test_onnx_node.py        ONNX's backend cases of one node                       87 cases, forward
test_onnx_recurrent.py   ONNX's cases of LSTM, GRU and RNN; onnxruntime         18 cases and more, forward
test_onnx_recorded.py    models and outputs that ONNX recorded from PyTorch     52 cases, forward
test_torch_opinfo.py     PyTorch's own samples and error inputs (OpInfo)        2,996 samples, forward and
                                                                                all gradients; 81 errors
=======================  =====================================================  =========================

Nothing here is expected to fail. What the other side can ask for and fastdl's signatures do not have
(dilated pooling, ``auto_pad``, unbatched input, ...) is translated by ``onnx_adapter.py`` and
``torch_adapter.py`` into calls of `fastdl.functional`; ``pooling.py`` builds the poolings that need more
than one call.

The suites are optional: without onnx, torch or expecttest their tests are skipped with the reason.
"""
