"""Networks from programs of other tools: a file becomes a module of torch's own layers.

```
file ──reading──▶ program ──settling──▶ for one size of images ──building──▶ module ──branches──▶ module with blocks
```

Nothing in a file is executed but by onnxruntime, which has no operators that reach beyond the program.
"""
