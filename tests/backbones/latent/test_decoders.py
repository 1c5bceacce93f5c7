"""Decoders are distributions over items, encoders read them: in each place, in any order, at any size."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F

from morello.backbones.autoregressive import NETWORKS, Autoregressive, GivenSizes, permuted, raster
from morello.backbones.autoregressive.heads import Bernoulli, Categorical, DiscretisedLogisticMixture, GaussianMixture
from morello.backbones.latent import AutoregressiveDecoder, FactorisedDecoder, LatentModel, loss
from morello.backbones.latent.decoders import Deconvolution, Flat
from morello.backbones.latent.encoders import ConvolutionalEncoder, FlatEncoder
from morello.backbones.latent.kl import Beta
from morello.backbones.latent.posteriors import UnitVarianceGaussian
from morello.backbones.latent.priors import Learned

from ...support.enumeration import number_of, surprise

B, Z = 7, 2  # items, numbers a code


def decoder_of(kind, ordering, head):
    if kind == "factorised":
        return FactorisedDecoder(ordering, head, Z, Flat)
    return AutoregressiveDecoder(Autoregressive(ordering, head, NETWORKS["gru"], GivenSizes(glob=Z)))


@pytest.mark.parametrize("kind", ["factorised", "autoregressive"])
def test_decoders_are_distributions_given_each_code(kind):
    decoder = decoder_of(kind, raster(2, 3, 1), Bernoulli()).double()
    every = torch.tensor(list(product([0, 1], repeat=6))).view(-1, 2, 3, 1)
    with torch.no_grad():
        one, other = (decoder.log_prob(every, torch.full((64, Z), c).double()) for c in (0.5, -2.0))
    for nats in (one, other):
        torch.testing.assert_close(nats.exp().sum(), torch.ones(()).double())
    assert (one - other).abs().max() > 0.01
    drawn = decoder.sample(torch.full((9000, Z), 0.5).double())
    assert surprise(number_of(drawn, 2).bincount(minlength=64), one.exp()) < 4


@pytest.mark.parametrize("kind", ["factorised", "autoregressive"])
def test_each_item_is_told_and_drawn_from_its_own_code(kind):
    decoder = decoder_of(kind, raster(2, 3, 1), Bernoulli()).double()
    every, codes = torch.tensor(list(product([0, 1], repeat=6))).view(-1, 2, 3, 1), 23 * torch.randn(B, Z).double()
    with torch.no_grad():
        law = torch.stack([decoder.log_prob(every, z.expand(64, Z)) for z in codes])  # [B, 64], each of one code
        told = torch.stack([decoder.log_prob(x.expand(B, 2, 3, 1), codes) for x in every], dim=1)
    torch.testing.assert_close(told, law)
    apart = (law.exp().unsqueeze(1) - law.exp()).abs().sum(-1) / 2
    assert apart.mean() > 0.1  # or it could not be seen whose code it was
    drawn = number_of(decoder.sample(codes.repeat(3000, 1)), 2).view(3000, B)
    for b in range(B):
        assert surprise(drawn[:, b].bincount(minlength=64), law[b].exp()) < 4


@pytest.mark.parametrize("whole_pixels", [False, True])
def test_parameters_belong_to_places_whatever_the_order(whole_pixels):
    inner = raster(3, 5, 2, whole_pixels=whole_pixels)
    head = DiscretisedLogisticMixture(11, 2, components=2) if whole_pixels else Categorical(11)
    mixed = permuted(inner, torch.randperm(inner.length))
    decoder, other = (FactorisedDecoder(ordering, head, Z, Deconvolution) for ordering in (inner, mixed))
    other.network.load_state_dict(decoder.network.state_dict())
    x, z = torch.randint(11, (B, 3, 5, 2)), torch.randn(B, Z)
    torch.testing.assert_close(decoder.log_prob(x, z), other.log_prob(x, z))
    mode = decoder.sample(z, temperature=0)
    assert mode.shape == x.shape
    assert torch.equal(mode, other.sample(z, temperature=0))
    if not whole_pixels:
        parameters = decoder.network(z)
        assert parameters.shape == (B, 3, 5, 2, 11)
        assert torch.equal(mode, parameters.argmax(-1))
        expected = F.log_softmax(parameters, -1).gather(-1, x.unsqueeze(-1)).sum((1, 2, 3, 4))
        torch.testing.assert_close(decoder.log_prob(x, z), expected)
    with pytest.raises(ValueError, match="events of shape"):
        FactorisedDecoder(inner, Categorical(11) if whole_pixels else GaussianMixture(1, dims=2), Z, Flat)


@pytest.mark.parametrize(("height", "width"), [(11, 7), (13, 5), (2, 3)])
def test_an_image_model_of_odd_sizes(height, width):
    shape, levels = (height, width, 3), 17
    decoder = FactorisedDecoder(
        raster(*shape, whole_pixels=True), DiscretisedLogisticMixture(levels, 3, components=2), Z, Deconvolution
    )
    model = LatentModel(ConvolutionalEncoder(shape, 19, levels), UnitVarianceGaussian(19, Z), Learned(Z), decoder)
    x = torch.randint(levels, (B, *shape), dtype=torch.uint8)
    terms = model.terms(x)
    assert [tuple(t.shape) for t in terms] == [(B,), (B,), (B,), (B, Z), (B, Z)]
    loss(terms, Beta()).backward()
    missing = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert missing <= {"decoder.head.value.weight", "decoder.head.value.bias"}
    for images in (model.reconstruct(x), model.sample(B)):
        assert images.shape == x.shape
        assert 0 <= images.min() <= images.max() < levels


def test_deconvolution_grows_each_cell_where_it_stands():
    network = Deconvolution(Z, (11, 7, 2), 3, channels=5)
    plain = network(torch.zeros(1, Z))
    assert plain.shape == (1, 11, 7, 2, 3)
    with torch.no_grad():
        network.linear.bias.view(5, 3, 2)[:, 2, 0] += 1  # of 3 x 2 cells, each about 4 x 4 pixels
    moved = (network(torch.zeros(1, Z)) != plain)[0].flatten(2).all(2).nonzero()
    assert (moved.min(0).values.tolist(), moved.max(0).values.tolist()) == ([5, 0], [10, 6])


@pytest.mark.parametrize("encoder", [FlatEncoder, ConvolutionalEncoder])
def test_encoders_see_each_pixel_of_their_item_alone(encoder):
    shape, levels = (11, 7, 3), 5
    encode = encoder(shape, 19, levels)
    x = torch.randint(levels - 1, (B, *shape))
    features = encode(x)
    assert features.shape == (B, encode.size) == (B, 19)
    torch.testing.assert_close(encode(x[:1]), features[:1])
    for place in [(0, 0, 0), (10, 6, 2), (4, 3, 1)]:
        changed = x.clone()
        changed[(2, *place)] = levels - 1
        moved = (encode(changed) != features).any(1)
        assert moved[2]
        assert not moved[[0, 1, 3, 4, 5, 6]].any()
