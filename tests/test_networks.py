"""Networks read features of any shape; their fast layers compute what torch's own compute."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from sklearn_ddfad.networks import (
    MLP,
    VGG11,
    ConvNet,
    EfficientNetV2,
    ResNet18,
    _normalization,
    make_network,
)
from sklearn_ddfad.networks._layers import Conv2d, InstanceNorm, together

SHAPES = [
    (3, 16, 53),
    (1, 5, 3),
    (3, 1, 1),
    (3, 7, 1),
    (3, 1, 9),
    (2, 2, 2),
    (1, 48, 54),
    (3, 9, 13),
]
OPTIONS = [
    *({"normalization": name} for name in ("instance", "batch", "layer", "group", "none")),
    *({"pooling": name} for name in ("avg", "max", "none")),
    *({"activation": name} for name in ("relu", "leaky_relu", "sigmoid")),
    {"depth": 1},
    {"depth": 5, "width": 8},
]


def seeded(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def built(network, *args, **options):
    """Build a network with seeded weights, and leave the global generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return network(*args, **options)


@pytest.mark.parametrize("network", [ConvNet, EfficientNetV2, ResNet18, VGG11])
@pytest.mark.parametrize("n_planes", [1, 3])
def test_every_convolution_reads_images_with_their_channels_last(network, n_planes):
    module, seen = built(network, (n_planes, 40, 50), 3, width=8, normalization="batch"), []
    for layer in module.modules():
        if isinstance(layer, Conv2d):
            layer.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    module(seeded(2, n_planes, 40, 50, dtype=torch.float32))
    assert seen[0].shape[1] == n_planes
    assert all(x.stride(1) == 1 for x in seen)


# -- ConvNet -----------------------------------------------------------------------------------


def is_absorbed(name, network):
    """Tell whether a parameter is a bias that the normalisation after it takes away again."""
    *_, index, kind = name.split(".")
    if name.startswith("classifier") or kind != "bias":
        return False
    layer, following = network.features[int(index)], network.features[int(index) + 1]
    return isinstance(layer, Conv2d) and isinstance(following, InstanceNorm | nn.BatchNorm2d)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_convnet_reads_any_shape_and_learns_everywhere(shape, options):
    network = built(ConvNet, shape, 4, **options)
    X = seeded(6, *shape, dtype=torch.float32).requires_grad_()
    logits = network(X)
    assert logits.shape == (6, 4)
    assert logits.isfinite().all()
    F.cross_entropy(logits, torch.arange(6) % 4).backward()
    assert X.grad.isfinite().all()
    assert X.grad.flatten(1).any(dim=1).all()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or is_absorbed(name, network), name


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("normalization", ["instance", "batch", "layer", "group", "none"])
def test_convnet_tells_clips_apart_even_tiny_ones(shape, normalization):
    network = built(ConvNet, shape, 4, normalization=normalization).eval()
    logits = network(seeded(6, *shape, dtype=torch.float32))
    assert logits.std(dim=0).min() > 1e-4 * logits.abs().max()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pooling", ["avg", "max", "none"])
@pytest.mark.parametrize("depth", [1, 3, 6])
def test_convnet_embeds_clips_in_what_its_last_layer_sees(shape, pooling, depth):
    network = built(ConvNet, shape, 5, width=4, depth=depth, pooling=pooling)
    X = seeded(2, *shape, dtype=torch.float32)
    embedding = network.embed(X)
    rows, columns = shape[1:]
    if pooling != "none":
        rows, columns = (max(size // 2**depth, 1) for size in (rows, columns))
    assert embedding.shape == (2, 4 * rows * columns)
    torch.testing.assert_close(network.classifier(embedding), network(X))


@pytest.mark.parametrize("normalization", ["instance", "layer", "group", "none"])
def test_convnet_sees_each_clip_by_itself(normalization):
    network = built(ConvNet, (3, 16, 53), 10, normalization=normalization)
    X = seeded(4, 3, 16, 53, dtype=torch.float32)
    together = network(X)
    apart = torch.cat([network(clip[None]) for clip in X])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-4)


def test_convnet_is_silent_about_silence():
    network = built(ConvNet, (3, 16, 20), 3)
    X = torch.zeros(2, 3, 16, 20, requires_grad=True)
    network(X).square().sum().backward()
    assert X.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_convnet_pickles_and_copies():
    network = built(ConvNet, (3, 16, 20), 3)
    X = seeded(2, 3, 16, 20, dtype=torch.float32)
    for again in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(again(X), network(X), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"normalization": "hope"}, r"normalization='hope' is unknown.*'instance'"),
        ({"pooling": "swimming"}, r"pooling='swimming' is unknown.*'avg', 'max', 'none'"),
        ({"activation": "coffee"}, r"activation='coffee' is unknown.*'relu'"),
        ({"normalization": "group", "width": 6}, "divisible"),
    ],
)
def test_unknown_parts_of_a_convnet_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        ConvNet((3, 16, 20), 3, **options)


# -- ResNet18 and VGG11 ------------------------------------------------------------------------

DEEP = pytest.mark.parametrize("network", [ResNet18, VGG11])
NORMALIZATIONS = pytest.mark.parametrize(
    "normalization", ["instance", "batch", "layer", "group", "none"]
)


def layers(network):
    return [module for module in network.modules() if not list(module.children())]


@DEEP
@NORMALIZATIONS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_deep_networks_read_any_shape_and_learn_everywhere(network, shape, normalization):
    network = built(network, shape, 4, width=8, normalization=normalization)
    X = seeded(6, *shape, dtype=torch.float32).requires_grad_()
    logits = network(X)
    assert logits.shape == (6, 4)
    F.cross_entropy(logits, torch.arange(6) % 4).backward()
    assert X.grad.isfinite().all()
    assert X.grad.flatten(1).any(dim=1).all()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@DEEP
@pytest.mark.parametrize("normalization", ["instance", "batch", "layer", "group"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_deep_networks_tell_clips_apart_even_tiny_ones(network, shape, normalization):
    network = built(network, shape, 4, width=8, normalization=normalization)
    logits = network(seeded(6, *shape, dtype=torch.float32))
    assert logits.std(dim=0).min() > 1e-3 * logits.abs().max()


@DEEP
@pytest.mark.parametrize("normalization", ["instance", "layer", "group", "none"])
def test_deep_networks_see_each_clip_by_itself(network, normalization):
    network = built(network, (3, 16, 53), 10, width=8, normalization=normalization)
    X = seeded(4, 3, 16, 53, dtype=torch.float32)
    apart = torch.cat([network(clip[None]) for clip in X])
    torch.testing.assert_close(network(X), apart, atol=1e-5, rtol=1e-4)


@DEEP
@NORMALIZATIONS
def test_a_deep_signal_neither_vanishes_nor_explodes(network, normalization):
    """Its size behind 8 or 17 convolutions is that of what came in, within a factor of ten."""
    network = built(network, (3, 32, 32), 4, width=8, normalization=normalization)
    size = network.embed(seeded(6, 3, 32, 32, dtype=torch.float32)).square().mean().sqrt()
    assert 0.1 < size < 10


@pytest.mark.parametrize(("shape", "image"), [((3, 16, 53), 1), ((1, 128, 100), 4 * 3)])
def test_vgg_keeps_what_five_poolings_leave_of_the_image(shape, image):
    network = built(VGG11, shape, 5, width=4)
    X = seeded(2, *shape, dtype=torch.float32)
    assert network.embed(X).shape == (2, 8 * 4 * image)
    torch.testing.assert_close(network.classifier(network.embed(X)), network(X))


@pytest.mark.parametrize("shape", [(3, 16, 53), (1, 70, 64)])
def test_resnet_keeps_the_mean_over_the_image(shape):
    network = built(ResNet18, shape, 5, width=4)
    X = seeded(2, *shape, dtype=torch.float32)
    images = network.features[:-1](X)
    assert images.shape == (2, 8 * 4, *(-(-size // 8) for size in shape[1:]))
    torch.testing.assert_close(network.embed(X), images.mean((2, 3)))
    torch.testing.assert_close(network.classifier(network.embed(X)), network(X))


@DEEP
def test_width_is_that_of_the_first_convolution_an_eighth_of_the_last(network):
    convolutions = [m for m in layers(built(network, (3, 8, 9), 2)) if isinstance(m, Conv2d)]
    assert [m.out_channels for m in (convolutions[0], convolutions[-1])] == [64, 512]


@DEEP
@pytest.mark.parametrize("step_size", [0.05, 0.1])
def test_deep_networks_learn_by_plain_gradient_descent(network, step_size, heard):
    """With the step sizes of experts and judges the loss stays finite, and it falls."""
    X = torch.tensor(heard[1][:15])
    y = torch.arange(len(X)) % 3  # any labels will do
    network = built(network, X.shape[1:], 3, width=8)
    losses = []
    for _ in range(100):
        loss = F.cross_entropy(network(X), y)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter -= step_size * gradient
        losses.append(loss.item())
    assert max(losses) < 5
    assert min(losses[-5:]) < 0.7 * losses[0]


@DEEP
def test_deep_networks_are_silent_about_silence(network):
    network = built(network, (3, 16, 20), 3, width=4)
    X = torch.zeros(2, 3, 16, 20, requires_grad=True)
    network(X).square().sum().backward()
    assert X.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@DEEP
def test_deep_networks_pickle_and_copy(network):
    network = built(network, (3, 16, 20), 3, width=4)
    X = seeded(2, 3, 16, 20, dtype=torch.float32)
    for again in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(again(X), network(X), atol=0, rtol=0)


@DEEP
def test_unknown_normalisations_of_deep_networks_are_refused(network):
    with pytest.raises(ValueError, match=r"normalization='hope' is unknown.*'instance'"):
        network((3, 16, 20), 3, normalization="hope")


@pytest.mark.parametrize("image", [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_clips_of_few_points_are_not_normalised_into_each_other(image):
    """The mean of a few normalised points after ReLU is nearly the same for all clips."""
    network = built(ConvNet, (2, *image), 3, depth=2, width=64)
    means = network.embed(seeded(20, 2, *image, dtype=torch.float32)).unflatten(1, (64, -1)).mean(2)
    assert means.std(dim=0).mean() > 0.5 * means.mean()


# -- MLP and make_network ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(30,), (1,), (3, 4, 5)])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_mlp_reads_any_shape_and_learns_everywhere(shape, depth):
    network = built(MLP, shape, 4, depth=depth, width=16)
    X = seeded(32, *shape, dtype=torch.float32)
    assert network.embed(X).shape == (32, 16)
    logits = network(X)
    assert logits.shape == (32, 4)
    torch.testing.assert_close(logits, network.classifier(network.embed(X)))
    F.cross_entropy(logits, torch.arange(32) % 4).backward()
    assert all(parameter.grad.any() for parameter in network.parameters())


def test_mlp_without_hidden_layers_is_linear():
    network = built(MLP, (6,), 2, depth=0)
    a, b = seeded(2, 3, 6, dtype=torch.float32)
    torch.testing.assert_close(network(a + b) + network(0 * a), network(a) + network(b))


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("auto", (3, 16, 53), ConvNet),
        ("auto", (30,), MLP),
        ("auto", (4, 30), MLP),
        ("convnet", (1, 48, 53), ConvNet),
        ("mlp", (3, 16, 53), MLP),
        ("resnet18", (3, 16, 53), ResNet18),
        ("vgg11", (1, 48, 53), VGG11),
        ("efficientnetv2", (3, 16, 53), EfficientNetV2),
        (MLP, [3, 16, 53], MLP),
        (
            lambda shape, n: nn.Sequential(nn.Flatten(), nn.Linear(shape[0], n)),
            (30,),
            nn.Sequential,
        ),
    ],
)
def test_make_network(name, shape, expected):
    network = built(make_network, name, shape, 7)
    assert type(network) is expected
    assert network(torch.zeros(2, *shape)).shape == (2, 7)


def test_make_network_gives_a_new_one_each_time():
    first, second = (make_network("mlp", (3,), 2) for _ in range(2))
    assert first is not second


def test_unknown_network_is_refused():
    with pytest.raises(ValueError, match=r"network='resnet1' is unknown; use 'auto', .*'convnet'"):
        make_network("resnet1", (3, 16, 53), 10)


# -- the layers that are differentiated twice --------------------------------------------------


def pair_of_convolutions(padding=1, kernel_size=3, stride=1, n_planes=2, groups=1):
    geometry = (n_planes, 3, kernel_size, stride, padding)
    ours = built(Conv2d, *geometry, groups=groups).double()
    theirs = nn.Conv2d(*geometry, groups=groups).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def pair_of_normalisations(*following, n_channels=3):
    norm = InstanceNorm(n_channels).double()
    theirs = nn.GroupNorm(n_channels, n_channels).double()
    state = {"weight": seeded(n_channels, seed=1), "bias": seeded(n_channels, seed=2)}
    norm.load_state_dict(state)
    theirs.load_state_dict(state)
    if not following:
        return norm, theirs
    (ours,) = together(norm, *following)
    return ours, nn.Sequential(theirs, *following)


PAIRS = {
    "convolution": (pair_of_convolutions, 2),
    "convolution without padding": (lambda: pair_of_convolutions(padding=0), 2),
    "point convolution": (lambda: pair_of_convolutions(padding=0, kernel_size=1), 2),
    "oblong convolution": (lambda: pair_of_convolutions(padding=(1, 0), kernel_size=(3, 1)), 2),
    "strided convolution": (lambda: pair_of_convolutions(stride=2), 2),
    "convolution of many planes": (lambda: pair_of_convolutions(n_planes=6), 6),
    "convolution by channel": (lambda: pair_of_convolutions(n_planes=3, groups=3), 3),
    "strided by channel": (lambda: pair_of_convolutions(n_planes=3, groups=3, stride=(2, 1)), 3),
    "normalisation": (pair_of_normalisations, 3),
    "normalisation and ReLU": (lambda: pair_of_normalisations(nn.ReLU(), nn.AvgPool2d(1)), 3),
    "block": (lambda: pair_of_normalisations(nn.ReLU(), nn.AvgPool2d(2)), 3),
    "oblong block": (lambda: pair_of_normalisations(nn.ReLU(), nn.AvgPool2d((2, 1))), 3),
}


@pytest.fixture(params=["compiled loops", "torch"])
def formulas(request, monkeypatch):
    """Both ways of normalising, of which the number of threads or the device decides."""
    most_threads = {"compiled loops": 1000, "torch": 0}[request.param]
    monkeypatch.setattr(_normalization, "_MOST_THREADS", most_threads)


use_both_formulas = pytest.mark.usefixtures("formulas")


def derivatives(layer, x):
    """Value, first derivatives, and the gradient of a function of these: the second ones."""
    y = layer(x)
    inputs = (x, *layer.parameters())
    first = torch.autograd.grad(y.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    return y, *first, *second


@use_both_formulas
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_layers_and_two_derivatives_equal_those_of_torch(pair, channels_last):
    make, n_channels = PAIRS[pair]
    x = seeded(4, n_channels, 5, 6)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(*(derivatives(f, x.requires_grad_()) for f in make()), strict=True):
        assert theirs.any()
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


@use_both_formulas
@pytest.mark.parametrize("pair", PAIRS)
def test_layers_as_functions_of_input_and_parameters_have_true_derivatives(pair):
    make, n_channels = PAIRS[pair]
    layer, _ = make()
    names = [name for name, _ in layer.named_parameters()]

    def function(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    inputs = (
        seeded(2, n_channels, 3, 4).requires_grad_(),
        *(p.detach().clone().requires_grad_() for p in layer.parameters()),
    )
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("wanted", ["input", "parameters", "first parameter"])
def test_layers_need_not_be_differentiated_by_everything(pair, wanted):
    make, n_channels = PAIRS[pair]
    x = seeded(2, n_channels, 4, 5)
    results = []
    for layer in make():
        weight = next(iter(layer.parameters()))
        layer.requires_grad_(wanted == "parameters")
        weight.requires_grad_(wanted != "input")
        inputs = [x.requires_grad_()] if wanted == "input" else [weight]
        y = layer(x if wanted == "input" else x.detach())
        first = torch.autograd.grad(y.sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), inputs)
        results.append((*first, *second))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


def test_a_gradient_by_one_derivative_alone():
    # Of the two first derivatives of a convolution only one is used, either one.
    x = seeded(2, 2, 4, 5)
    for index in (0, 1):
        results = []
        for layer in pair_of_convolutions():
            inputs = (x.requires_grad_(), layer.weight)
            first = torch.autograd.grad(layer(x).sin().sum(), inputs, create_graph=True)
            results.append(torch.autograd.grad(first[index].square().sum(), inputs))
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


@use_both_formulas
@pytest.mark.parametrize("constant", [0.0, 1.0, -10.0])
def test_normalised_constant_images_stay_finite(constant):
    x = torch.full((2, 3, 5, 6), constant, requires_grad=True)
    layer = InstanceNorm(3)
    y = layer(x)
    torch.testing.assert_close(y, torch.zeros_like(y), atol=1e-2, rtol=0)
    (grad,) = torch.autograd.grad((y * seeded(*y.shape, dtype=y.dtype)).sum(), x, create_graph=True)
    grad.square().sum().backward()
    assert grad.isfinite().all()
    assert x.grad.isfinite().all()


@use_both_formulas
def test_what_is_not_a_number_does_not_become_one():
    network = ConvNet((3, 8, 9), 2, width=4, depth=1).eval()
    X = torch.zeros(2, 3, 8, 9)
    X[0, 0, 4, 4] = float("nan")
    told = network(X)
    assert told[0].isnan().all()
    assert told[1].isfinite().all()


@use_both_formulas
def test_normalised_images_have_mean_0_and_variance_1():
    y = InstanceNorm(3)(5 + 3 * seeded(2, 3, 8, 9, dtype=torch.float32))
    torch.testing.assert_close(y.mean((2, 3)), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var((2, 3), correction=0), torch.ones(2, 3), atol=1e-4, rtol=0)


def test_a_bias_before_instance_normalisation_changes_nothing():
    """Which is why the ConvNet has none there; elsewhere it has."""
    network = built(ConvNet, (3, 8, 8), 4, width=4).double()
    x = seeded(2, 3, 8, 8)
    expected = network(x)
    conv = network.features[0]
    assert conv.bias is None
    conv.bias = nn.Parameter(seeded(4))
    torch.testing.assert_close(network(x), expected, atol=1e-10, rtol=0)
    plain = built(ConvNet, (3, 8, 8), 4, width=4, normalization="group")
    assert plain.features[0].bias is not None
