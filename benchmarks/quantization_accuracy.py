"""Accuracy of 8 bits after training, beside what other tools reach with the same images for calibration.

    python benchmarks/quantization_accuracy.py --weights FILE… --data FOLDER [--network resnet56] [--images 512]

Top-1 on all test images of CIFAR-10, in percent, of the program as its runtime executes it: ours and onnxruntime's
static quantization by onnxruntime, NNCF's by OpenVINO, and torchao's pt2e graph by torch. Each seed draws other images
of the training split, and every tool gets the same ones. With several files of weights each seed has a network of its
own (`networks/cifar.py` trains them). A tool that is not installed is left out: `pip install onnxruntime`, `nncf`,
`torchao`. Without data and weights there is nothing to measure.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from networks.cifar import BUILDERS
from quantization import quantized

from recipelang.kinds import Deployment
from recipelang.methods.data.cifar10 import Cifar10
from recipelang.methods.runtimes.onnxruntime import OnnxRuntime
from recipelang.nets.cifar_resnet import cifar_resnet
from recipelang.runtimes.installed import absent
from recipelang.runtimes.onnx_program import as_bytes, onnx_program
from recipelang.runtimes.onnx_session import Session
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network

#: Ours: name → the quantizer and its settings.
OURS: dict[str, dict[str, Any]] = {
    "minmax": {},
    "percentile": {},
    "mse": {},
    "kl": {"bins": 2048},
    "aciq": {},
}
BATCH = 100
Call = Callable[[Tensor], Tensor]


def ours(name: str, **settings: Any) -> Callable[[Network, Tensor], Call]:
    """A quantizer of this project, executed by onnxruntime."""

    def made(network: Network, images: Tensor) -> Call:
        ready = OnnxRuntime().prepare(quantized(network, images, name, **settings), Deployment(batch=BATCH))
        return ready  # type: ignore[return-value]

    return made


def onnxruntime_static(network: Network, images: Tensor) -> Call:
    """`onnxruntime.quantization.quantize_static`: QDQ, per channel, signed weights, as its documentation advises."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(images.split(64))

        def get_next(self) -> Any:
            part = next(self.left, None)
            return None if part is None else {"input": part.numpy()}

    with tempfile.TemporaryDirectory() as folder:
        plain, ready, after = (Path(folder) / name for name in ("plain.onnx", "ready.onnx", "after.onnx"))
        plain.write_bytes(as_bytes(onnx_program(network)))
        quant_pre_process(str(plain), str(ready))
        how: Any = {"quant_format": QuantFormat.QDQ, "per_channel": True, "weight_type": QuantType.QInt8}
        quantize_static(str(ready), str(after), Reader(), activation_type=QuantType.QUInt8, **how)
        return Session(after.read_bytes())


def nncf_static(network: Network, images: Tensor) -> Call:
    """`nncf.quantize` of the OpenVINO model, with its default preset and its bias correction.

    The model is read by `convert_model`, as the documentation of both does. `Core.read_model` leaves the shape of each
    bias a computation: NNCF finds no bias to correct then, and OpenVINO executes the result wrongly for an open batch.
    """
    import nncf
    import openvino

    model = openvino.convert_model(io.BytesIO(as_bytes(onnx_program(network))))
    data = nncf.Dataset([part.numpy() for part in images.split(1)])
    after = nncf.quantize(model, data, subset_size=len(images))
    how = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = openvino.Core().compile_model(after, "CPU", how).create_infer_request()
    return lambda inputs: torch.from_numpy(request.infer({0: inputs.numpy()})[0].copy())


def torchao_pt2e(network: Network, images: Tensor) -> Call:
    """torchao's pt2e with the quantizer for x86, its graph executed by torch."""
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    module = deployed(network)
    shape = {0: torch.export.Dim("batch", min=2, max=4096)}
    exported = torch.export.export(module, (images[:4],), dynamic_shapes=(shape,)).module()
    prepared: Any = prepare_pt2e(
        exported, X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    )
    for part in images.split(64):
        prepared(part)
    converted: Any = convert_pt2e(prepared)
    move_exported_model_to_eval(converted)
    return lambda inputs: converted(inputs)


def float32(network: Network, images: Tensor) -> Call:
    """Healthy, by onnxruntime."""
    ready = OnnxRuntime().prepare(network, Deployment(batch=BATCH))
    return ready  # type: ignore[return-value]


def tools() -> Iterator[tuple[str, Callable[[Network, Tensor], Call]]]:
    """What is measured: ours, and what is installed of others."""
    for name, settings in OURS.items():
        yield f"recipelang {name}", ours(name, **settings)
    for library, name, made in (
        ("onnxruntime", "onnxruntime static", onnxruntime_static),
        ("nncf", "nncf", nncf_static),
        ("torchao", "torchao pt2e", torchao_pt2e),
    ):
        if not absent([library]):
            yield name, made


def top1(call: Call, images: Tensor, labels: Tensor) -> float:
    """Percent."""
    with torch.no_grad():
        found = torch.cat([call(part).argmax(1) for part in images.split(BATCH)])
    return 100 * float((found == labels).float().mean())


def loaded(name: str, file: str) -> Network:
    """A network with the weights of a file."""
    if name in BUILDERS:
        module = BUILDERS[name]()
    else:
        module = cifar_resnet(int(name.removeprefix("resnet")), channels=3, classes=10)
    module.load_state_dict(load_file(file))
    return Network(module.eval(), {}, (3, 32, 32))


def drawn(data: Any, count: int, seed: int) -> Tensor:
    """Images of the training split, without augmentation of others than `batches` makes."""
    return torch.cat([part.inputs for part in data.batches("train", samples=count, seed=seed)])


def main() -> None:
    """Print the accuracy of each tool: the mean over seeds, and each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="*", default=[], help="safetensors, one for all seeds or one for each")
    parser.add_argument("--data", default="", help="folder of CIFAR-10")
    parser.add_argument("--network", default="resnet56", choices=("resnet20", "resnet56", *BUILDERS))
    parser.add_argument("--seeds", type=int, default=3, help="draws of images where all have the same network")
    parser.add_argument("--only", nargs="*", default=[], help="names of tools, as they are printed")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--json", default="", help="a file for the numbers")
    asked = parser.parse_args()
    if not asked.weights or not asked.data:
        print("skipped: it needs --weights and --data")
        return
    torch.set_num_threads(1)
    data = Cifar10(asked.data).open(Path)
    batches = list(data.batches("test", batch=500))
    images, labels = (torch.cat([part[n] for part in batches]) for n in (0, 1))
    files = asked.weights if len(asked.weights) > 1 else asked.weights * asked.seeds
    pairs = [(loaded(asked.network, file), drawn(data, asked.images, seed)) for seed, file in enumerate(files)]
    alike = len(set(files)) == 1
    whole = [top1(float32(network, images), images, labels) for network, _ in (pairs[:1] if alike else pairs)]
    whole *= len(pairs) if alike else 1
    print(f"{'float32':22} {statistics.mean(whole):.2f} ({' '.join(f'{each:.2f}' for each in whole)})", flush=True)
    found = {"float32": whole}
    for name, made in tools():
        if asked.only and name not in asked.only:
            continue
        try:
            found[name] = [top1(made(network, each), images, labels) for network, each in pairs]
        except Exception as error:  # other tools raise anything: one that fails is told, and the rest is measured
            print(f"{name:22} failed: {type(error).__name__}: {str(error).strip().splitlines()[0]}", flush=True)
            continue
        apart = [each - before for each, before in zip(found[name], whole, strict=True)]
        listed = " ".join(f"{each:+.2f}" for each in apart)
        spread = f" ± {statistics.stdev(apart):.2f}" if len(apart) > 1 else ""
        print(f"{name:22} {statistics.mean(apart):+.2f}{spread} points ({listed})", flush=True)
    if asked.json:
        Path(asked.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
