"""The parameters and buffers of NetworkCIFAR, by the names and shapes of the official implementation; no forward pass."""

from torch import nn


def convolution(inputs, outputs, kernel=1, groups=1):
    return nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=False)


def norm(channels, affine):
    return nn.BatchNorm2d(channels, affine=affine)


def separable(channels, kernel, times, affine=True):
    layers = []
    for _ in range(times):
        depthwise = convolution(channels, channels, kernel, groups=channels)
        layers += [nn.ReLU(), depthwise, convolution(channels, channels), norm(channels, affine)]
    return layers


class Operation(nn.Module):
    """Layers under the name `op`."""

    def __init__(self, *layers):
        super().__init__()
        self.op = nn.Sequential(*layers)


class Halving(nn.Module):
    """Two convolutions, each of half of the channels, and one norm."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv_1 = convolution(inputs, outputs // 2)
        self.conv_2 = convolution(inputs, outputs // 2)
        self.bn = norm(outputs, True)


def projection(inputs, outputs):
    return Operation(nn.ReLU(), convolution(inputs, outputs), norm(outputs, True))


def operation(name, channels, halves):
    if name == "skip_connect":
        return Halving(channels, channels) if halves else nn.Identity()
    if name == "conv_7x1_1x7":
        along, down = (nn.Conv2d(channels, channels, kernel, bias=False) for kernel in ((1, 7), (7, 1)))
        return nn.Sequential(nn.ReLU(), along, down, norm(channels, True))
    kind, _, size = name.split("_")
    kernel = int(size[0])
    if kind == "sep":
        return Operation(*separable(channels, kernel, 2))
    if kind == "dil":
        return Operation(*separable(channels, kernel, 1))
    return nn.Identity()


class Cell(nn.Module):
    def __init__(self, genotype, before, last, channels, halves, halved):
        super().__init__()
        self.preprocess0 = Halving(before, channels) if halved else projection(before, channels)
        self.preprocess1 = projection(last, channels)
        edges = genotype.reduce if halves else genotype.normal
        self.width = channels * len(genotype.reduce_concat if halves else genotype.normal_concat)
        self._ops = nn.ModuleList(operation(name, channels, halves and state < 2) for name, state in edges)


class NetworkCIFAR(nn.Module):
    def __init__(self, C, num_classes, layers, auxiliary, genotype):
        super().__init__()
        assert not auxiliary, "no auxiliary head is modelled here"
        width = 3 * C
        self.stem = nn.Sequential(convolution(3, width, 3), norm(width, True))
        before, last, halved = width, width, False
        cells = []
        for place in range(layers):
            halves = place in (layers // 3, 2 * layers // 3)
            C *= 2 if halves else 1
            cells.append(Cell(genotype, before, last, C, halves, halved))
            before, last, halved = last, cells[-1].width, halves
        self.cells = nn.ModuleList(cells)
        self.classifier = nn.Linear(last, num_classes)
