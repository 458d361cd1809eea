"""The enhancer's mask is what the paper says; EfficientNetV2 is the one that was published."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from joblib import hash as joblib_hash
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.nn import functional as F

from sklearn_ddfad import (
    ConvNet,
    DistributionDistiller,
    EfficientNetV2,
    EnhancedNetwork,
    GradientDistiller,
    NetworkEmbedding,
    TimeFrequencyEnhancer,
    TrajectoryDistiller,
    make_audio_classification,
    network_classifier,
)
from sklearn_ddfad._training import _with_layers_of_torch, functional_network, stacked_gradient
from sklearn_ddfad.networks._efficientnet import _Residual

BLOCKS = pytest.mark.parametrize("n_blocks", [1, 2, 4])
SHAPES = [(3, 16, 53), (1, 5, 3), (3, 1, 1), (3, 1, 9), (1, 40, 100)]
SMALL = {"width": 8, "normalization": "group"}  # the smallest EfficientNetV2


def seeded(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def built(network, *args, **options):
    """Build a network with seeded weights, and leave the global generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return network(*args, **options)


def enhancer(n_blocks, **options):
    """An enhancer whose masks differ from point to point more than fresh ones do."""
    module = built(TimeFrequencyEnhancer, n_blocks, **options).double()
    for i, parameter in enumerate(module.parameters()):
        parameter.data = seeded(*parameter.shape, seed=i) / 2
    return module


def of_all_masks(module, value):
    """Give the last block this one number before the sigmoid, whatever it sees."""
    for path in module.blocks[-1].children():
        nn.init.zeros_(path[-2].weight)
        nn.init.constant_(path[-2].bias, value)
    return module


# -- the mask ----------------------------------------------------------------------------------


@BLOCKS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_mask_is_an_outer_product_between_0_and_1_of_the_size_of_a_clip(n_blocks, shape):
    module = enhancer(n_blocks, n_planes=shape[0], hidden_size=4)
    X = seeded(6, *shape)
    masks = module.masks(X)
    assert masks.shape == (6, *shape[1:])
    assert (masks > 0).all()
    assert (masks < 1).all()
    singular_values = torch.linalg.svdvals(masks)
    assert (singular_values[:, 1:] < 1e-12).all()
    for plane, enhanced in zip(X.unbind(1), module(X).unbind(1), strict=True):
        torch.testing.assert_close(enhanced / plane, masks)


@BLOCKS
def test_masks_are_those_of_the_formulas_with_every_masked_clip_written_out(n_blocks):
    module = enhancer(n_blocks, n_planes=2, hidden_size=5, kernel_size=5)
    X = seeded(3, 2, 7, 11)
    masked = X
    for block in module.blocks:
        of_frames = block.of_frames(masked.mean(dim=2))
        of_coefficients = block.of_coefficients(masked.mean(dim=3))
        masks = of_coefficients.unsqueeze(3) @ of_frames.unsqueeze(2)
        masked = X.mean(dim=1, keepdim=True) * masks
    torch.testing.assert_close(module.masks(X), masks.squeeze(1))


@BLOCKS
def test_an_open_mask_leaves_clips_as_they_are_and_a_closed_one_nothing_of_them(n_blocks):
    X = seeded(2, 1, 9, 12)
    module = enhancer(n_blocks)
    torch.testing.assert_close(of_all_masks(module, 50.0)(X), X)
    torch.testing.assert_close(of_all_masks(module, -50.0)(X), 0 * X)
    torch.testing.assert_close(of_all_masks(module, 0.0)(X), X / 4)  # a half times a half


@BLOCKS
def test_a_clip_is_masked_whatever_the_others_are(n_blocks):
    module = enhancer(n_blocks, n_planes=3)
    X = seeded(4, 3, 8, 10)
    apart = torch.cat([module.masks(clip[None]) for clip in X])
    torch.testing.assert_close(module.masks(X), apart)
    assert (apart[1:] - apart[0]).abs().amax(dim=(1, 2)).min() > 1e-3  # and each has its own


def test_weights_of_frames_do_not_know_the_order_of_coefficients_nor_these_that_of_frames():
    module = enhancer(1)
    X = seeded(2, 1, 9, 12)
    of_frames, of_coefficients = module.weights(X)
    torch.testing.assert_close(module.weights(X.flip(2))[0], of_frames)
    torch.testing.assert_close(module.weights(X.flip(3))[1], of_coefficients)
    assert (module.weights(X.flip(2))[1] - of_coefficients).abs().max() > 1e-3


def test_a_sound_that_comes_later_is_masked_alike_and_later():
    module = enhancer(1)
    X = torch.zeros(1, 1, 6, 40, dtype=torch.float64)
    X[..., 12:20] = seeded(1, 1, 6, 8)
    here, later = module.masks(X), module.masks(X.roll(9, dims=3))
    torch.testing.assert_close(later[..., 15:35], here[..., 6:26])
    assert here[..., 6:26].std() > 1e-3


def test_frames_at_rest_far_from_a_sound_have_one_weight():
    """A block sees four frames to either side of one, with four convolutions of three points."""
    module = enhancer(1, n_convolutions=4)
    X = torch.zeros(1, 1, 5, 40, dtype=torch.float64)
    X[..., 20] = 1
    of_frames = module.weights(X)[0][0]
    silent = module.weights(0 * X)[0][0]
    heard = (of_frames - silent).abs() > 1e-9
    assert heard.nonzero().flatten().tolist() == [*range(16, 25)]


def test_masks_are_made_of_all_planes():
    module = enhancer(2, n_planes=3)
    X = seeded(2, 3, 8, 10).requires_grad_()
    (gradient,) = torch.autograd.grad(module.masks(X).sum(), X)
    assert gradient.flatten(2).any(dim=2).all()


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_masked_clips_have_true_first_and_second_derivatives(n_blocks):
    module = enhancer(n_blocks, hidden_size=2)
    names = [name for name, _ in module.named_parameters() if name.endswith("0.weight")]

    def function(X, *values):
        return functional_call(module, dict(zip(names, values, strict=True)), (X,))

    weights = [dict(module.named_parameters())[name].detach().clone() for name in names]
    inputs = [seeded(1, 1, 3, 4), *weights]
    for value in inputs:
        value.requires_grad_()
    assert gradcheck(function, inputs, fast_mode=True)
    assert gradgradcheck(function, inputs, fast_mode=True)


@BLOCKS
def test_masks_tell_frames_apart_from_the_start(n_blocks):
    """However many convolutions there are, louder frames are given other weights."""
    levels = seeded(9, 1, 1, 20, dtype=torch.float32).expand(-1, -1, 16, -1)
    module = built(TimeFrequencyEnhancer, n_blocks)
    assert module.weights(levels)[0].std(dim=1).mean() > 0.02
    assert module.weights(levels.mT)[1].std(dim=1).mean() > 0.02


@BLOCKS
def test_every_part_of_an_enhancer_learns(n_blocks):
    module = built(TimeFrequencyEnhancer, n_blocks, n_planes=3)
    module(seeded(4, 3, 16, 20, dtype=torch.float32)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_there_are_32_masks_between_blocks_as_the_paper_says():
    channels = [
        (path[0].in_channels, path[-2].out_channels)
        for block in TimeFrequencyEnhancer(2).blocks
        for path in block.children()
    ]
    assert channels == [(1, 32), (1, 32), (32, 1), (32, 1)]  # frames, frequencies; twice


@pytest.mark.parametrize(("n_blocks", "printed"), [(0, 8.74), (1, 8.75), (2, 8.77), (4, 8.82)])
def test_numbers_of_parameters_round_to_those_of_the_paper(n_blocks, printed):
    """Of Tables 2 and 3, for the 35 classes of Speech Commands."""
    total = n_parameters(of_size("b2", (3, 128, 128), 35))
    if n_blocks:
        total += TimeFrequencyEnhancer(n_blocks, n_convolutions=4, hidden_size=32).n_parameters
    assert round(total / 1e6, 2) == printed


@BLOCKS
@pytest.mark.parametrize("size", ["b0", "b1", "b2"])
@pytest.mark.parametrize("n_planes", [1, 3])
def test_an_enhancer_has_less_than_a_hundredth_of_the_parameters(n_blocks, size, n_planes):
    backbone = of_size(size, (n_planes, 128, 128), 10)
    module = TimeFrequencyEnhancer(n_blocks, n_planes=n_planes)
    assert module.n_parameters == n_parameters(module)
    assert module.n_parameters < n_parameters(backbone) / 100


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_blocks": 0}, "n_blocks == 0, must be >= 1"),
        ({"n_convolutions": 0}, "n_convolutions == 0, must be >= 1"),
        ({"kernel_size": 4}, "kernel_size=4 must be odd"),
    ],
)
def test_impossible_enhancers_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        TimeFrequencyEnhancer(**options)


def of_size(size, input_shape, n_classes):
    """An EfficientNetV2 as published, but for the numbers that it starts with: none."""
    with torch.device("meta"):
        return EfficientNetV2(input_shape, n_classes, size=size)


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


# -- in front of a network -----------------------------------------------------------------------

ENHANCED = partial(EnhancedNetwork, backbone=partial(ConvNet, width=4), n_blocks=2)


def test_an_enhanced_network_is_the_backbone_on_masked_clips():
    network = built(ENHANCED, (3, 16, 20), 5)
    X = seeded(2, 3, 16, 20, dtype=torch.float32)
    masked = X * network.enhancer.masks(X)[:, None]
    torch.testing.assert_close(network(X), network.backbone(masked))
    torch.testing.assert_close(network.embed(X), network.backbone.embed(masked))
    assert not torch.allclose(network(X), network.backbone(X))


def test_the_default_backbone_is_an_efficientnetv2():
    network = EnhancedNetwork((1, 64, 48), 10)
    assert type(network.backbone) is EfficientNetV2
    assert len(network.enhancer.blocks) == 4


def test_clips_without_axes_are_not_enhanced():
    with pytest.raises(ValueError, match=r"clips of shape \(30,\) are no feature images"):
        EnhancedNetwork((30,), 5, backbone="mlp")


def linear(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), n_classes))


def test_any_module_is_a_backbone_and_one_that_cannot_embed_says_so():
    network = EnhancedNetwork((1, 8, 9), 4, backbone=linear)
    assert network(torch.zeros(2, 1, 8, 9)).shape == (2, 4)
    with pytest.raises(ValueError, match=r"Sequential has no method embed\(X\)"):
        network.embed(torch.zeros(2, 1, 8, 9))


def test_enhanced_networks_are_copied_pickled_cloned_and_recognised():
    network = built(ENHANCED, (3, 16, 20), 3)
    X = seeded(2, 3, 16, 20, dtype=torch.float32)
    for again in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(again(X), network(X), atol=0, rtol=0)
    twin = clone(network_classifier(ENHANCED)).module__network
    assert (twin.func, twin.keywords["n_blocks"]) == (EnhancedNetwork, 2)
    assert joblib_hash(ENHANCED) == joblib_hash(pickle.loads(pickle.dumps(ENHANCED)))


@pytest.fixture(scope="module")
def words(heard):
    """Thirty invented words, as heard, and which of the three each is."""
    return heard[1], make_audio_classification(30, n_classes=3, random_state=0)[1]


def test_an_enhanced_network_is_a_judge(words):
    X, y = words
    start, masks = (
        network_classifier(ENHANCED, n_steps=20, lr=lr, device="cpu", random_state=0)
        .fit(X, y)
        .module_.enhancer.masks(torch.from_numpy(X))
        for lr in (1e-9, 0.1)
    )
    assert masks.shape == (30, *X.shape[2:])
    assert (masks - start).std() > 0.01 * start.std()  # the masks are trained, too


TRAJECTORIES = {"n_experts": 1, "student_steps": 4, "max_start_epoch": 2, "max_iter": 12}


@pytest.mark.parametrize(
    ("distiller", "backbone", "options"),
    [
        (TrajectoryDistiller, partial(ConvNet, width=8), TRAJECTORIES),
        (GradientDistiller, partial(ConvNet, width=8), {"max_iter": 12}),
        (GradientDistiller, partial(EfficientNetV2, **SMALL), {"max_iter": 2}),
    ],
)
def test_sets_are_distilled_through_an_enhancer(distiller, backbone, options, words):
    X, y = words
    made = distiller(
        1,
        network=partial(EnhancedNetwork, backbone=backbone, n_blocks=2),
        estimator=DummyClassifier(),
        validation_fraction=0,
        random_state=0,
        **options,
    ).fit(X, y)
    assert np.isfinite(made.loss_curve_).all()
    assert made.transform().isfinite().all()


def test_embeddings_are_taken_through_an_enhancer(words):
    X, y = words
    made = DistributionDistiller(
        1,
        network=ENHANCED,
        estimator=DummyClassifier(),
        max_iter=2,
        validation_fraction=0,
        random_state=0,
    ).fit(X, y)
    assert np.isfinite(made.loss_curve_).all()
    seen = NetworkEmbedding(ENHANCED, trained=False, random_state=0).fit(X, y).transform(X)
    assert seen.shape == (30, 4 * 2 * 3)


NETWORKS = pytest.mark.parametrize(
    "network",
    [ENHANCED, partial(EfficientNetV2, **SMALL)],
    ids=["enhanced", "efficientnetv2"],
)


@NETWORKS
def test_second_derivatives_of_networks_equal_those_of_torch_own_layers(network):
    ours = built(network, (3, 9, 11), 4).double()
    theirs = _with_layers_of_torch(copy.deepcopy(ours)).to_empty(device="cpu").double()
    for parameter, value in zip(theirs.parameters(), ours.parameters(), strict=True):
        parameter.data = value.detach().clone()
    X, y = seeded(4, 3, 9, 11).requires_grad_(), torch.arange(4)
    results = []
    for module in (ours, theirs):
        inputs = (X, *module.parameters())
        loss = F.cross_entropy(module(X), y)
        first = torch.autograd.grad(loss, inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        results.append((*first, *second))
    for mine, plain in zip(*results, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-7, atol=1e-10)


@NETWORKS
def test_networks_are_trained_side_by_side(network):
    one = functional_network(network, (3, 9, 11), 2, seed=0, device="cpu")
    one.module.double()
    X, y = seeded(2, 6, 3, 9, 11), torch.arange(12).view(2, 6) % 2
    theta = torch.stack([one.initial_parameters(), 0.9 * one.initial_parameters()])
    together = stacked_gradient(one)(theta, X, y)
    for gradient, *alone in zip(together, theta.requires_grad_(), X, y, strict=True):
        expected = one.loss_gradient(*alone)
        assert (gradient - expected).norm() < 1e-10 * expected.norm()


# -- EfficientNetV2 ------------------------------------------------------------------------------

PUBLISHED = {"b0": 7_139_704, "b1": 8_141_052, "b2": 10_096_086}  # with 1000 classes
PLAN = """r2_s1_e1_c8 r3_s2_e4_c16 r3_s2_e4_c24
    r4_s2_e4_c56_se r6_s1_e6_c64_se r10_s2_e6_c104_se"""  # stages of B2, half as wide


@pytest.mark.parametrize("size", PUBLISHED)
def test_efficientnetv2_has_as_many_parameters_as_published(size):
    assert n_parameters(of_size(size, (3, 224, 224), 1000)) == PUBLISHED[size]


class Plain(nn.Module):
    """A block of torch's own layers, written after the paper's Fig. 2."""

    def __init__(self, n_in, n_out, stride, expansion, has_squeeze):
        super().__init__()
        wide = n_in * expansion
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        if has_squeeze:
            shapes = [(n_in, wide, 1, 1, 1), (wide, wide, 3, stride, wide), (wide, n_out, 1, 1, 1)]
        elif expansion > 1:
            shapes = [(n_in, wide, 3, stride, 1), (wide, n_out, 1, 1, 1)]
        else:
            shapes = [(n_in, n_out, 3, stride, 1)]
        for a, b, k, s, groups in shapes:
            self.convolutions.append(nn.Conv2d(a, b, k, s, k // 2, groups=groups, bias=False))
            self.norms.append(nn.BatchNorm2d(b))
        self.reduce = nn.Conv2d(wide, n_in // 4, 1) if has_squeeze else None
        self.expand = nn.Conv2d(n_in // 4, wide, 1) if has_squeeze else None
        self.narrows = expansion > 1
        self.has_shortcut = stride == 1 and n_in == n_out

    def ordered(self):
        """The parameters in the order of the layers."""
        *first, last = zip(self.convolutions, self.norms, strict=True)
        squeeze = [self.reduce, self.expand] if self.reduce else []
        layers = [*(layer for pair in first for layer in pair), *squeeze, *last]
        return [parameter for layer in layers for parameter in layer.parameters()]

    def forward(self, x):
        y = x
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            is_last = i == len(self.norms) - 1
            if is_last and self.reduce:
                squeezed = F.silu(self.reduce(y.mean((2, 3), keepdim=True)))
                y = y * self.expand(squeezed).sigmoid()
            y = norm(convolution(y))
            y = y if is_last and self.narrows else F.silu(y)
        return x + y if self.has_shortcut else y


def test_efficientnetv2_b2_is_the_published_one_written_in_torch_own_layers():
    """Half as wide as B2; 97 points are the fewest of which nothing but the size differs."""
    ours = built(EfficientNetV2, (3, 97, 100), 7, size="b2", width=16)
    blocks, n_in = [], 16
    for stage in PLAN.split():
        repeats, stride, expansion, n_out, *squeeze = stage.split("_")
        for i in range(int(repeats[1:])):
            step = int(stride[1:]) if i == 0 else 1
            blocks.append(Plain(n_in, int(n_out[1:]), step, int(expansion[1:]), bool(squeeze)))
            n_in = int(n_out[1:])
    stem = Plain(3, 16, 2, 1, False)
    head = nn.Conv2d(n_in, 704, 1, bias=False), nn.BatchNorm2d(704)
    linear = nn.Linear(704, 7)
    parameters = [p for block in (stem, *blocks) for p in block.ordered()]
    parameters += [p for layer in (*head, linear) for p in layer.parameters()]
    for parameter, value in zip(parameters, ours.parameters(), strict=True):
        assert parameter.shape == value.shape
        parameter.data = value.data
    X = seeded(2, 3, 97, 100, dtype=torch.float32)
    images = nn.Sequential(stem, *blocks, *head, nn.SiLU())(X)
    assert images.shape == (2, 704, 4, 4)
    torch.testing.assert_close(ours(X), linear(images.mean((2, 3))), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "left"),
    [
        ((3, 224, 224), (7, 7)),  # as published
        ((1, 128, 512), (4, 16)),
        ((3, 97, 97), (4, 4)),
        ((3, 96, 97), (6, 4)),  # a fifth time would leave three
        ((3, 16, 54), (4, 4)),
        ((1, 7, 6), (4, 6)),
        ((1, 1, 3), (1, 3)),
    ],
    ids=str,
)
def test_images_are_halved_five_times_unless_less_than_four_points_were_left(shape, left):
    network = built(EfficientNetV2, shape, 5, **SMALL)
    X = seeded(1, *shape, dtype=torch.float32)
    images = network.features[:-1](X)
    assert images.shape == (1, 320, *left)
    torch.testing.assert_close(network.embed(X), images.mean((2, 3)))
    torch.testing.assert_close(network.classifier(network.embed(X)), network(X))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("normalization", ["group", "layer", "batch"])
def test_efficientnetv2_reads_any_shape_and_learns_everywhere(shape, normalization):
    network = built(EfficientNetV2, shape, 4, width=8, normalization=normalization)
    X = seeded(6, *shape, dtype=torch.float32).requires_grad_()
    logits = network(X)
    assert logits.shape == (6, 4)
    assert logits.std(dim=0).min() > 1e-3 * logits.abs().max()  # clips are told apart
    F.cross_entropy(logits, torch.arange(6) % 4).backward()
    assert X.grad.isfinite().all()
    assert X.grad.flatten(1).any(dim=1).all()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("normalization", ["group", "layer"])
def test_efficientnetv2_sees_each_clip_by_itself(normalization):
    network = built(EfficientNetV2, (3, 16, 53), 10, width=8, normalization=normalization)
    X = seeded(4, 3, 16, 53, dtype=torch.float32)
    apart = torch.cat([network(clip[None]) for clip in X])
    torch.testing.assert_close(network(X), apart, atol=1e-5, rtol=1e-4)


def test_efficientnetv2_is_silent_about_silence():
    network = built(EfficientNetV2, (3, 16, 20), 3, **SMALL)
    X = torch.zeros(2, 3, 16, 20, requires_grad=True)
    network(X).square().sum().backward()
    assert X.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_efficientnetv2_learns_by_plain_gradient_descent(words):
    X, y = map(torch.tensor, words)
    network = built(EfficientNetV2, X.shape[1:], 3, width=8)
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(network(X), y)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
        losses.append(loss.item())
    assert max(losses) < 5
    assert min(losses[-5:]) < 0.7 * losses[0]


def test_what_training_leaves_out_is_there_when_the_network_is_used():
    plain = built(EfficientNetV2, (1, 16, 20), 3, **SMALL)
    noisy = built(EfficientNetV2, (1, 16, 20), 3, dropout=0.5, stochastic_depth=0.5, **SMALL)
    X = seeded(4, 1, 16, 20, dtype=torch.float32)
    torch.testing.assert_close(noisy.eval()(X), plain(X))
    assert not torch.allclose(noisy.train()(X), plain(X))
    assert not torch.allclose(noisy(X), noisy(X))


def test_clips_take_the_shortcut_alone_as_often_as_asked_and_the_mean_stays():
    residual = _Residual([nn.Identity()], 0.2)
    x = torch.ones(4000, 1, 1, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = residual(x)
    assert set(y.flatten().tolist()) == {1.0, 2.25}  # x, or x + x / 0.8
    assert abs((y == 1).float().mean() - 0.2) < 0.03
    assert residual.eval()(x).eq(2).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "b9"}, r"size='b9' is unknown.*'b0', 'b1', 'b2'"),
        ({"normalization": "none"}, r"normalization='none' is not for EfficientNetV2.*'group'"),
        ({"normalization": "instance"}, r"normalization='instance' is not for EfficientNetV2"),
    ],
)
def test_unknown_parts_of_an_efficientnetv2_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        EfficientNetV2((3, 16, 20), 3, **options)
