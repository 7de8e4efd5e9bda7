#!/usr/bin/env python3
"""Times PyTorch's training steps with the same networks on made-up images, with its fastest settings: channels last,
autocast, fused SGD; on a GPU also TF32, cuDNN's measured plans and, in f16, a loss scale.

    train_torch.py NETWORK BATCH f32|bf16|f16 [device=cpu|cuda] [threads=N] [classes=1000] [seconds=15] [compile|autotune]

On a GPU `compile` uses CUDA graphs; `autotune` also measures kernels, which takes minutes. Prints images/s (the median of five blocks) and images per second of processor time; on a GPU its peak memory.
"""
import pathlib
import sys
import time

import torch
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "interop"))
import torch_referee  # the networks  # noqa: E402


def build(name, classes):
    if name == "resnet-50":
        import torchvision
        return torchvision.models.resnet50(num_classes=classes)
    net, _, _ = torch_referee.inception(name, {"conv1/conv/weight": torch.empty(1), "conv2/conv/weight": torch.empty(1)}, classes)
    for module in net.modules():  # PyTorch's own batch norm is faster
        for child, inner in module.named_children():
            if isinstance(inner, torch_referee.BatchNorm):
                setattr(module, child, torch.nn.BatchNorm2d(inner.num_features))
    return net


def main():
    name, batch, dtype = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    options = dict(word.split("=") for word in sys.argv[4:] if "=" in word)
    classes, seconds = int(options.get("classes", 1000)), float(options.get("seconds", 15))
    if "threads" in options:
        torch.set_num_threads(int(options["threads"]))
    device = options.get("device", "cpu")
    half = {"bf16": torch.bfloat16, "f16": torch.float16}.get(dtype, torch.bfloat16)
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    net = build(name, classes).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), 0.05, 0.9, weight_decay=1e-4, fused=True)
    scaler = torch.amp.GradScaler(device, enabled=dtype == "f16")
    pixels = torch.randn(batch, 3, 224, 224, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(0, classes, (batch,), device=device)
    mode = "max-autotune" if "autotune" in sys.argv else "reduce-overhead" if device == "cuda" else None
    compiled = "compile" in sys.argv or "autotune" in sys.argv
    run = torch.compile(net, mode=mode) if compiled else net

    def step():
        with torch.autocast(device, half, enabled=dtype != "f32"):
            loss = functional.cross_entropy(run(pixels), labels)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    def finish():
        if device == "cuda":
            torch.cuda.synchronize()

    steps_at_once = 20 if device == "cuda" else 1  # a wait after each would leave the GPU idle
    for _ in range(2 * steps_at_once):
        step()
    finish()
    rates, processor_rates = [], []
    for _ in range(5):
        start, processor, images = time.time(), time.process_time(), 0
        while time.time() - start < seconds / 5:
            for _ in range(steps_at_once):
                step()
            finish()
            images += steps_at_once * batch
        rates.append(images / (time.time() - start))
        processor_rates.append(images / (time.process_time() - processor))
    rates.sort()
    print(f"torch {torch.__version__} {name} classes={classes} batch={batch} {dtype} threads={torch.get_num_threads()}"
          f"{f' compiled ({mode})' if compiled else ''}: {rates[2]:.2f} images/s (from {rates[0]:.2f} to {rates[4]:.2f}), "
          f"{sorted(processor_rates)[2]:.2f} a processor second"
          + (f", peak {torch.cuda.max_memory_allocated() / 1e6:.0f} MB" if device == "cuda" else ""))


main()
