#!/usr/bin/env python3
"""PyTorch repeats what dump_step wrote, from the same weights and images: torch_referee.py FILE.h5 ...

The truth is PyTorch in f64. How far rounding to f32 moves the result says what f32 allows. Two kinds of run measure
that: PyTorch in f32, and PyTorch in f64 from weights that are off by the rounding of a sum (which sometimes changes
the sign at a ReLU or the argmax of a pool, as happens in any f32 run of ten steps). Ours may be off by a few times as
much. To show that the comparison detects mistakes, two of them must fail it: an average pool that leaves out the
border, and weight decay on batch norm.
"""
import sys

import h5py
import numpy as np
import torch
from torch import nn
from torch.nn import functional

# Our sums differ from PyTorch's f32 in order and rounding, so our error may be a small multiple of PyTorch's f32 error.
FACTOR = 8
SUM = 2.0**-24 * 1024**0.5  # roundings of a sum of a thousand terms, relative
FLOOR = 16 * 2.0**-24  # a few roundings, relative: for values that PyTorch happens to hit exactly


class BatchNorm(nn.BatchNorm2d):
    """Running statistics with the biased variance, as lib/ops/nodes.h defines them."""

    def forward(self, x):
        if not self.training:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0, self.eps)
        with torch.no_grad():
            self.batch_mean, self.batch_var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            self.running_mean.mul_(0.9).add_(self.batch_mean, alpha=0.1)
            self.running_var.mul_(0.9).add_(self.batch_var, alpha=0.1)
        return functional.batch_norm(x, None, None, self.weight, self.bias, True, 0, self.eps)


class Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, name, width_in, width, kernel=1, stride=1, pad=0):
        super().__init__()
        self.name = name
        self.conv = nn.Conv2d(width_in, width, kernel, stride, pad, bias=False)
        self.bn = BatchNorm(width)

    def forward(self, x):
        return functional.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    def __init__(self, name, width_in, a, b, c, d, e, pool, f, border):
        super().__init__()
        stride = 1 if a else 2
        self.branches = nn.ModuleList()
        if a:
            self.branches.append(Unit(f"{name}/1x1", width_in, a))
        self.branches.append(nn.Sequential(Unit(f"{name}/3x3_reduce", width_in, b), Unit(f"{name}/3x3", b, c, 3, stride, 1)))
        self.branches.append(nn.Sequential(Unit(f"{name}/double3x3_reduce", width_in, d), Unit(f"{name}/double3x3_0", d, e, 3, 1, 1),
                                           Unit(f"{name}/double3x3_1", e, e, 3, stride, 1)))
        if a:
            pooling = nn.AvgPool2d(3, 1, 1, count_include_pad=border) if pool == "avg" else nn.MaxPool2d(3, 1, 1)
            self.branches.append(nn.Sequential(pooling, Unit(f"{name}/pool_proj", width_in, f)))
        else:
            self.branches.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        self.width = a + c + e + (f if a else width_in)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


PAPER = [("3a", 64, 64, 64, 64, 96, "avg", 32), ("3b", 64, 64, 96, 64, 96, "avg", 64), ("3c", 0, 128, 160, 64, 96, "max", 0),
         ("4a", 224, 64, 96, 96, 128, "avg", 128), ("4b", 192, 96, 128, 96, 128, "avg", 128),
         ("4c", 160, 128, 160, 128, 160, "avg", 128), ("4d", 96, 128, 192, 160, 192, "avg", 128),
         ("4e", 0, 128, 192, 192, 256, "max", 0), ("5a", 352, 192, 320, 160, 224, "avg", 128),
         ("5b", 352, 192, 320, 192, 224, "max", 128)]
WIDE = {"3a": ("3a", 96, 96, 96, 96, 144, "avg", 48), "3b": ("3b", 96, 96, 144, 96, 144, "avg", 96),
        "3c": ("3c", 0, 192, 240, 96, 144, "max", 0), "4d": ("4d", 96, 128, 192, 160, 96, "avg", 128)}


def inception(name, parameters, classes, border=True):
    maximum = nn.MaxPool2d(3, 2, ceil_mode=True)
    width = {n: parameters[f"{n}/conv/weight"].shape[0] for n in ("conv1", "conv2")}
    if name == "inception-bn-small":  # its widths are our own choice, so they are read from the weights
        def of(block, unit):
            key = f"{block}/{unit}/conv/weight"
            return parameters[key].shape[0] if key in parameters else 0
        names = sorted({key.split("/")[0] for key in parameters if key[0].isdigit()})
        table = [(n, of(n, "1x1"), of(n, "3x3_reduce"), of(n, "3x3"), of(n, "double3x3_reduce"), of(n, "double3x3_0"), "avg",
                  of(n, "pool_proj")) for n in names]
        layers = [Unit("conv1", 3, width["conv1"], 3, 1, 1), Unit("conv2", width["conv1"], width["conv2"], 3, 2, 1)]
    else:
        stem = (96, 128, 288) if name == "inception-bn-21k" else (64, 64, 192)
        table = [WIDE.get(row[0], row) if name == "inception-bn-21k" else row for row in PAPER]
        layers = [Unit("conv1", 3, stem[0], 7, 2, 3), maximum, Unit("conv2_reduce", stem[0], stem[1]),
                  Unit("conv2", stem[1], stem[2], 3, 1, 1), maximum]
    channels = layers[1].conv.out_channels if name == "inception-bn-small" else layers[3].conv.out_channels
    for row in table:
        layers.append(Block(row[0], channels, *row[1:], border))
        channels = layers[-1].width
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
    return net, {u.name: (u.conv, u.bn) for u in net.modules() if isinstance(u, Unit)}, net[-1]


def resnet(classes):
    import torchvision
    net = torchvision.models.resnet50(num_classes=classes, norm_layer=BatchNorm)
    units = {"conv1": (net.conv1, net.bn1)}
    for stage, layer in enumerate((net.layer1, net.layer2, net.layer3, net.layer4)):
        for i, block in enumerate(layer):
            name = f"{stage + 2}{'abcdef'[i]}"
            units[f"{name}/reduce"] = (block.conv1, block.bn1)
            units[f"{name}/3x3"] = (block.conv2, block.bn2)
            units[f"{name}/expand"] = (block.conv3, block.bn3)
            if block.downsample is not None:
                units[f"{name}/shortcut"] = tuple(block.downsample)
    return net, units, net.fc


def arrays(group):
    found = {}
    group.visititems(lambda name, item: found.__setitem__(name, np.array(item)) if isinstance(item, h5py.Dataset) else None)
    return found


def repeat(file, parameters, dtype, border=True, decay_all=False):
    """The same steps in PyTorch. Returns everything that dump_step wrote, as f64 arrays by name."""
    settings = file.attrs
    name = settings["network"].decode() if isinstance(settings["network"], bytes) else str(settings["network"])
    classes = int(settings["classes"])
    net, units, linear = resnet(classes) if name == "resnet-50" else inception(name, parameters, classes, border)
    tensors = {"fc/weight": linear.weight, "fc/bias": linear.bias}
    for unit, (conv, bn) in units.items():
        tensors |= {f"{unit}/conv/weight": conv.weight, f"{unit}/bn/scale": bn.weight, f"{unit}/bn/shift": bn.bias}
    assert set(tensors) == set(parameters), \
        f"only one of the two has these parameters: {set(tensors) ^ set(parameters)}"
    net = net.to(dtype)
    with torch.no_grad():
        for key, tensor in tensors.items():
            assert tuple(tensor.shape) == parameters[key].shape, f"{key}: {tuple(tensor.shape)}, ours {parameters[key].shape}"
            tensor.copy_(torch.from_numpy(parameters[key]))
    pixels = (torch.from_numpy(np.array(file["pixels"]).astype(np.float32)) - float(settings["mean"])) * float(settings["scale"])
    pixels, labels = pixels.permute(0, 3, 1, 2).to(dtype), torch.from_numpy(np.array(file["labels"]))
    flat = [t for t in tensors.values() if t.dim() == 1]
    optimizer = torch.optim.SGD([{"params": [t for t in tensors.values() if t.dim() > 1], "weight_decay": float(settings["weight_decay"])},
                                 {"params": flat, "weight_decay": float(settings["weight_decay"]) if decay_all else 0.0}],
                                lr=float(settings["rate"]), momentum=float(settings["momentum"]))
    result, losses = {}, []
    for step in range(int(settings["steps"])):
        logits = net(pixels)
        loss = functional.cross_entropy(logits, labels, label_smoothing=float(settings["label_smoothing"]))
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            result["logits"] = logits.detach()
            result |= {f"gradients/{key}": tensor.grad.clone() for key, tensor in tensors.items()}
            for unit, (_, bn) in units.items():
                result |= {f"batch_statistics/{unit}/bn/mean": bn.batch_mean, f"batch_statistics/{unit}/bn/variance": bn.batch_var}
        optimizer.step()
    for unit, (_, bn) in units.items():
        result |= {f"statistics/{unit}/bn/mean": bn.running_mean, f"statistics/{unit}/bn/variance": bn.running_var}
    net.eval()
    with torch.no_grad():
        result["inference"] = net(pixels)
    result = {key: value.double().numpy() for key, value in result.items()}
    result |= {f"losses/{i}": np.array(loss) for i, loss in enumerate(losses)}
    return result


def allowances(truth, rounded):
    """How far f32 allows each array to be off."""
    return {key: FACTOR * max(np.linalg.norm(other[key] - value) for other in rounded) + FLOOR * np.linalg.norm(value) + 1e-300
            for key, value in truth.items()}


def errors(ours, truth, allowed):
    """How far ours is from the truth, in units of what f32 allows, by name."""
    return {key: float(np.linalg.norm(ours[key] - value) / allowed[key]) for key, value in truth.items()}


def judge(path):
    with h5py.File(path) as file:
        parameters = arrays(file["parameters"])
        ours = {"logits": np.array(file["logits"]), "inference": np.array(file["inference"])}
        for group in ("gradients", "batch_statistics", "statistics"):
            ours |= {f"{group}/{key}": value for key, value in arrays(file[group]).items()}
        ours |= {f"losses/{i}": loss for i, loss in enumerate(np.array(file["losses"]))}
        truth, rounded = repeat(file, parameters, torch.float64), [repeat(file, parameters, torch.float32)]
        signs = np.random.default_rng(0)
        for _ in range(2):
            moved = {key: value * (1 + SUM * signs.choice([-1.0, 1.0], value.shape)) for key, value in parameters.items()}
            rounded.append(repeat(file, moved, torch.float64))
        allowed = allowances(truth, rounded)
        found = errors(ours, truth, allowed)
        worst = max(found, key=found.get)
        name, good = str(file.attrs["network"]), found[worst] <= 1
        print(f"{'agrees' if good else 'DIFFERS'}: {name} at {file.attrs['image_size']} pixels: logits, inference, {len(parameters)} gradients, "
              f"{len(ours) - len(parameters) - 12} statistics, 10 losses; worst {worst}, {found[worst]:.2f} of what f32 allows "
              f"(losses {ours['losses/0']:.6f} to {ours['losses/9']:.6f}, PyTorch f64 {truth['losses/0']:.6f} to {truth['losses/9']:.6f})")
        if not good:
            for key in sorted(found, key=found.get, reverse=True)[:10]:
                print(f"    {key}: {found[key]:.2f}")
        if name == "inception-bn-small":
            for what, wrong in (("an average pool without its border", repeat(file, parameters, torch.float64, border=False)),
                                ("weight decay on batch norm", repeat(file, parameters, torch.float64, decay_all=True))):
                error = max(errors(ours, wrong, allowed).values())
                print(f"{'detected' if error > 1 else 'NOT DETECTED'}: {what} would be off by {error:.0f} times what "
                      "f32 allows")
                good = good and error > 1
    return good


if __name__ == "__main__":
    torch.manual_seed(0)
    results = [judge(path) for path in sys.argv[1:]]
    sys.exit(0 if results and all(results) else 1)
