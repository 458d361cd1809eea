"""The gradient of Eq. 3 equals plain automatic differentiation of all steps at once.

What it is compared with shares nothing with the library but its definition: networks of torch's own
layers, lists of parameters, a graph of everything.
"""

from math import prod

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from sklearn_ddfad import VGG11, Augmentation, ConvNet, ResNet18
from sklearn_ddfad._training import FunctionalNetwork
from sklearn_ddfad._validation import Rows
from sklearn_ddfad.augmentation import NoAugmentation
from sklearn_ddfad.distillation._trajectory import RealGuidance, Segment, trajectory_loss

N_CLASSES, N_CLIPS, N_STEPS = 3, 5, 4
AMPLE = 2**40


# -- the networks, of torch's own layers ---------------------------------------------------------


def convolution(n_in, n_out, image, kernel_size=3, stride=1):
    """A convolution and the normalisation after it, of each channel or, if small, of all."""
    each = prod(image) > 4
    conv = nn.Conv2d(n_in, n_out, kernel_size, stride, kernel_size // 2, bias=not each)
    return conv, nn.GroupNorm(n_out if each else 1, n_out)


def pooled(image):
    return [max(size // 2, 1) for size in image]


def plain(plan, shape):
    """Convolutions of so many channels with ReLU, and poolings where the plan says "P"."""
    n_in, *image = shape
    layers = []
    for n_out in plan:
        if n_out == "P":
            layers.append(nn.AvgPool2d([min(size, 2) for size in image]))
            image = pooled(image)
        else:
            layers += [*convolution(n_in, n_out, image), nn.ReLU()]
            n_in = n_out
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(n_in * prod(image), N_CLASSES))


class PlainResidual(nn.Module):
    def __init__(self, n_in, n_out, image, stride):
        super().__init__()
        self.conv1, self.norm1 = convolution(n_in, n_out, image, stride=stride)
        self.conv2, self.norm2 = convolution(n_out, n_out, image)
        self.is_other = n_in != n_out
        if self.is_other:
            self.conv3, self.norm3 = convolution(n_in, n_out, image, 1, stride)

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + (self.norm3(self.conv3(x)) if self.is_other else x))


def plain_resnet18(shape, width):
    n_in, *image = shape
    layers = [*convolution(n_in, width, image), nn.ReLU()]
    n_in = width
    for stage in range(4):
        stride = 1 if stage == 0 else 2
        image = [(size + stride - 1) // stride for size in image]
        n_out = width * 2**stage
        layers.append(PlainResidual(n_in, n_out, image, stride))
        layers.append(PlainResidual(n_out, n_out, image, 1))
        n_in = n_out
    mean = nn.AvgPool2d(tuple(image))
    return nn.Sequential(*layers, mean, nn.Flatten(), nn.Linear(n_in, N_CLASSES))


VGG_PLAN = [3, "P", 6, "P", 12, 12, "P", 24, 24, "P", 24, 24, "P"]
NETWORKS = {
    "ConvNet": (
        lambda shape: ConvNet(shape, N_CLASSES, depth=3, width=4),
        lambda shape: plain([4, "P", 4, "P", 4, "P"], shape),
        (3, 9, 11),
    ),
    "ResNet18": (
        lambda shape: ResNet18(shape, N_CLASSES, width=3),
        lambda shape: plain_resnet18(shape, 3),
        (2, 11, 10),
    ),
    "VGG11": (
        lambda shape: VGG11(shape, N_CLASSES, width=3),
        lambda shape: plain(VGG_PLAN, shape),
        (1, 16, 20),
    ),
}


@pytest.fixture(scope="module", params=NETWORKS)
def pair(request):
    """A network, the same of torch's own layers, and the shape of a clip."""
    ours, theirs, shape = NETWORKS[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours, theirs = ours(shape).double(), theirs(shape).double()
    shapes = [[p.shape for p in network.parameters()] for network in (ours, theirs)]
    assert shapes[0] == shapes[1]
    return ours, theirs, shape


def with_values(network, theta):
    """The network's parameters by name, with the values of a flat vector."""
    values = theta.split([p.numel() for p in network.parameters()])
    return {n: v.view_as(p) for (n, p), v in zip(network.named_parameters(), values, strict=True)}


def test_networks_are_the_published_ones(pair):
    ours, theirs, shape = pair
    X = seeded(4, *shape)
    theta = FunctionalNetwork(ours).initial_parameters()
    expected = functional_call(theirs, with_values(theirs, theta), (X,))
    torch.testing.assert_close(ours(X), expected, rtol=1e-10, atol=1e-12)


# -- the gradient --------------------------------------------------------------------------------


def seeded(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def decode(codes, shape):
    """Clips of two numbers a pixel, by a function that is not linear."""
    first, second = codes.view(len(codes), 2, *shape).unbind(1)
    return first.sinh() + first * second.tanh().flip(-1)


def problem(ours, shape, soft):
    """What Eq. 3 is a function of, and what else it takes."""
    start = FunctionalNetwork(ours).initial_parameters()
    inputs = {
        "codes": 0.7 * seeded(N_CLIPS, 2 * prod(shape), seed=1),
        "alpha": torch.tensor(0.2, dtype=torch.float64),
    }
    labels = seeded(N_CLIPS, N_CLASSES, seed=2) if soft else torch.arange(N_CLIPS) % N_CLASSES
    inputs["labels"] = labels
    augmentation = Augmentation(time_shift=0.3, time_mask=0.3, frequency_mask=0.3, gain=0.2)
    generator = torch.Generator().manual_seed(0)
    batches = [
        (
            torch.randperm(N_CLIPS, generator=generator)[:4],
            augmentation.draw((4, *shape), generator),
        )
        for _ in range(N_STEPS)
    ]
    segment = Segment(start, start + 0.1 * seeded(len(start), seed=3))
    return inputs, {"segment": segment, "batches": batches, "augmentation": augmentation}


def unrolled_loss(network, segment, clips, labels, alpha, batches, augmentation, real=None):
    """Eq. 3 as the published code computes it, and what real clips add: one graph of all steps."""
    soft = labels.softmax(1) if labels.is_floating_point() else labels
    parameters = with_values(network, segment.start.clone().requires_grad_())
    for indices, draw in batches:
        logits = functional_call(network, parameters, (augmentation(clips[indices], draw),))
        loss = F.cross_entropy(logits, soft[indices])
        gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        parameters = {
            name: parameter - alpha * gradient
            for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
        }
    target = with_values(network, segment.target)
    start = with_values(network, segment.start)
    missing = sum((parameters[n] - target[n]).square().sum() for n in parameters)
    loss = missing / sum((start[n] - target[n]).square().sum() for n in parameters)
    if real is not None:
        weight, X, codes = real
        loss = loss + weight * F.cross_entropy(functional_call(network, parameters, (X,)), codes)
    return loss


def value_and_gradients(loss_function, shape, inputs, **options):
    """The loss, and its derivatives by codes, alpha, labels where they are soft, and clips."""
    inputs = {
        name: value.clone().requires_grad_(value.is_floating_point())
        for name, value in inputs.items()
    }
    clips = decode(inputs["codes"], shape)
    loss = loss_function(clips=clips, labels=inputs["labels"], alpha=inputs["alpha"], **options)
    wanted = {n: v for n, v in {**inputs, "clips": clips}.items() if v.requires_grad}
    gradients = torch.autograd.grad(loss, list(wanted.values()))
    return loss.detach(), dict(zip(wanted, gradients, strict=True))


@pytest.fixture(scope="module", params=["hard", "soft"])
def labels(request):
    return request.param


@pytest.fixture(scope="module")
def unrolled(pair, labels):
    """The problem, and what automatic differentiation makes of it."""
    ours, theirs, shape = pair
    inputs, options = problem(ours, shape, labels == "soft")
    return (
        inputs,
        options,
        value_and_gradients(unrolled_loss, shape, inputs, network=theirs, **options),
    )


@pytest.mark.parametrize("memory_budget", [0, 100_000, AMPLE])
def test_gradient_equals_that_of_all_steps_at_once(pair, unrolled, memory_budget):
    ours, _, shape = pair
    inputs, options, (expected, expected_gradients) = unrolled
    loss, gradients = value_and_gradients(
        trajectory_loss,
        shape,
        inputs,
        network=FunctionalNetwork(ours),
        memory_budget=memory_budget,
        **options,
    )
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    assert len(gradients) == 3 + inputs["labels"].is_floating_point()
    for name, gradient in gradients.items():
        error = (gradient - expected_gradients[name]).norm() / expected_gradients[name].norm()
        assert error < 1e-10, name


def test_gradient_with_real_guidance_equals_that_of_all_steps_at_once(pair):
    ours, theirs, shape = pair
    inputs, options = problem(ours, shape, soft=True)
    X, codes = seeded(5, *shape, seed=5).float(), torch.arange(5) % N_CLASSES
    expected, expected_gradients = value_and_gradients(
        unrolled_loss, shape, inputs, network=theirs, real=(0.7, X.double(), codes), **options
    )
    network = FunctionalNetwork(ours)
    guidance = RealGuidance(0.7, Rows(X.numpy()), codes.numpy(), 5, NoAugmentation(), "cpu")
    loss, gradients = value_and_gradients(
        trajectory_loss,
        shape,
        inputs,
        network=network,
        memory_budget=AMPLE,
        guidance=guidance.on_a_batch(
            lambda theta, clips: network(theta, clips.double()), torch.Generator()
        ),
        **options,
    )
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    for name, gradient in gradients.items():
        error = (gradient - expected_gradients[name]).norm() / expected_gradients[name].norm()
        assert error < 1e-10, name


def test_gradient_is_the_slope_of_the_loss():
    """Finite differences along one direction of everything at once, for ResNet18."""
    make, _, shape = NETWORKS["ResNet18"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make(shape).double()
    inputs, options = problem(network, shape, soft=True)
    options = {**options, "network": FunctionalNetwork(network), "memory_budget": AMPLE}
    _, gradients = value_and_gradients(trajectory_loss, shape, inputs, **options)
    direction = {n: seeded(*value.shape, seed=9) for n, value in inputs.items()}
    step = 1e-7  # within it no ReLU may change its mind: the loss jumps where one does

    def loss_at(t):
        moved = {name: value + t * direction[name] for name, value in inputs.items()}
        return value_and_gradients(trajectory_loss, shape, moved, **options)[0]

    slope = (loss_at(step) - loss_at(-step)) / (2 * step)
    expected = sum((gradients[name] * direction[name]).sum() for name in inputs)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=0)
