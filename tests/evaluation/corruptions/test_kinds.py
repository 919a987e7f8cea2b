"""Each corruption does to an image what its name says."""

import math

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vgg_cifar.evaluation.corruptions import SEVERITIES, corrupt, fields, ice, maps
from vgg_cifar.evaluation.corruptions.weather import landscape

PLACES = torch.arange(200)
every_severity = pytest.mark.parametrize("severity", SEVERITIES)


def flat(level: int, count: int = 200) -> Tensor:
    return torch.full((count, 3, 32, 32), level, dtype=torch.uint8)


def spot(count: int = 200) -> Tensor:
    """Black, with one white pixel in the middle."""
    images = flat(0, count)
    images[:, :, 16, 16] = 255
    return images


@pytest.mark.parametrize(("severity", "sigma"), [(1, 0.04), (3, 0.08), (5, 0.10)])
def test_gaussian_noise_has_its_deviation_and_no_mean(severity: int, sigma: float) -> None:
    seen = corrupt("gaussian_noise", severity, flat(128), PLACES).double() / 255
    assert float(seen.mean()) == pytest.approx(128 / 255, abs=0.001)
    assert float(seen.std()) == pytest.approx(sigma, rel=0.01)


@pytest.mark.parametrize(("severity", "photons"), [(1, 500), (3, 100), (5, 50)])
@pytest.mark.parametrize("level", [5, 60, 160])
def test_shot_noise_is_that_of_counted_photons(severity: int, photons: int, level: int) -> None:
    seen = corrupt("shot_noise", severity, flat(level), PLACES).double() / 255
    assert float(seen.mean()) == pytest.approx(level / 255, abs=0.2 / 255)
    assert float(seen.var()) == pytest.approx(level / 255 / photons, rel=0.06)
    assert set((255 * seen).round().unique().tolist()) <= {round(count * 255 / photons) for count in range(photons + 1)}


def test_black_has_no_photons_to_count() -> None:
    assert torch.equal(corrupt("shot_noise", 5, flat(0), PLACES), flat(0))


@pytest.mark.parametrize(("severity", "share"), [(1, 0.01), (3, 0.03), (5, 0.07)])
def test_impulses_are_as_often_black_as_white_and_leave_the_rest(severity: int, share: float) -> None:
    seen = corrupt("impulse_noise", severity, flat(100), PLACES)
    assert set(seen.unique().tolist()) == {0, 100, 255}
    for level in (0, 255):
        assert float((seen == level).double().mean()) == pytest.approx(share / 2, rel=0.05)


@pytest.mark.parametrize("name", ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic_transform",
                                  "pixelate", "contrast"])  # fmt: skip
@every_severity
def test_what_only_moves_or_mixes_pixels_leaves_a_flat_image(name: str, severity: int) -> None:
    for level in (0, 77, 255):
        assert torch.equal(corrupt(name, severity, flat(level, 3), PLACES[:3]), flat(level, 3))


@every_severity
def test_defocus_spreads_a_point_evenly_to_all_sides(severity: int) -> None:
    made = corrupt("defocus_blur", severity, spot(1), PLACES[:1])[0, 0, 11:22, 11:22]
    for other in (made.flip(0), made.flip(1), made.T):
        assert torch.equal(made, other)
    assert int(made.sum()) == pytest.approx(255, abs=6)
    kinds = {3: (9, 113), 4: (5, 51), 5: (9, 28)}
    if severity in kinds:
        count, brightest = kinds[severity]
        assert int((made > 3).sum()) == count
        assert int(made.max()) == pytest.approx(brightest, abs=1)


@pytest.mark.parametrize(("severity", "reach", "moved"), [(1, 1, 0.25), (3, 1, 0.5), (4, 2, 0.75), (5, 2, 1)])
def test_glass_scatters_a_point_over_its_neighbours_and_no_further(severity: int, reach: int, moved: float) -> None:
    made = corrupt("glass_blur", severity, spot(), PLACES).double()[:, 0]
    assert len(made.unique(dim=0)) > 15
    light = made.mean(0) / made.mean(0).sum()
    away = torch.arange(32).double() - 16
    for side in (0, 1):
        lit = away[light.sum(side) > 0]
        assert -2 <= float(lit.min()) <= -1  # so far the blur alone reaches, twice
        assert reach <= float(lit.max()) <= reach + 2
        assert float(light.sum(side) @ away) == pytest.approx(moved, abs=0.12)


def test_motion_smears_each_image_to_one_side_within_45_degrees_of_the_horizontal() -> None:
    made = corrupt("motion_blur", 5, spot(), PLACES).double().mean(1)
    made = made / made.sum(dim=(1, 2), keepdim=True)
    away = torch.arange(32).double() - 16
    right, down = (made.sum(1) @ away), (made.sum(2) @ away)
    degrees = torch.rad2deg(torch.atan2(down.abs(), right.abs()))
    assert float(degrees.max()) < 50
    assert float(degrees.std()) > 8
    assert float(right.abs().min()) > 0.8
    assert bool((right < 0).all())  # all to the same side
    assert 0.3 < float((down > 0).double().mean()) < 0.7


def test_zoom_blur_leaves_the_centre_sharp_and_blurs_the_border() -> None:
    stripes = flat(0, 1)
    stripes[:, :, :, ::2] = 255
    made = corrupt("zoom_blur", 3, stripes, PLACES[:1])[0, 0].float()
    contrast = (made[:, 1:] - made[:, :-1]).abs().mean(0)
    assert float(contrast[15]) > 2 * float(contrast[:5].mean())


@every_severity
def test_brightness_raises_the_mean_and_keeps_the_hue(severity: int, images: Tensor, places: Tensor) -> None:
    more = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    made = corrupt("brightness", severity, images, places)
    assert (made >= images).all()
    for level in (0, 100, 250):
        seen = corrupt("brightness", severity, flat(level, 1), PLACES[:1])
        assert float((seen - 255 * min(level / 255 + more, 1)).abs().max()) < 0.51
    clean, bright = (Image.fromarray(each[0].permute(1, 2, 0).numpy()).convert("HSV") for each in (images, made))
    for channel in (0, 1):
        hue, after = (torch.frombuffer(bytearray(each.getchannel(channel).tobytes()), dtype=torch.uint8).int()
                      for each in (clean, bright))  # fmt: skip
        turn = (hue - after).abs()
        assert float(torch.minimum(turn, 256 - turn).float().mean()) < 4


@every_severity
def test_contrast_lowers_the_deviation_by_its_part_about_the_mean(
    severity: int, images: Tensor, places: Tensor
) -> None:
    part = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    made = corrupt("contrast", severity, images, places).double()
    clean = images.double()
    assert torch.allclose(made.mean(dim=(2, 3)), clean.mean(dim=(2, 3)), atol=0.3)
    assert torch.allclose(made.std(dim=(2, 3)), part * clean.std(dim=(2, 3)), atol=0.3)


@pytest.mark.parametrize("name", ["snow", "frost"])
def test_snow_and_frost_whiten_a_dark_image_in_places(name: str) -> None:
    made = corrupt(name, 5, flat(20), PLACES).double()
    assert float(made.mean()) > 60
    assert float(made.std(dim=(2, 3)).mean()) > 10
    red, green, blue = made.mean(dim=(0, 2, 3)).tolist()
    if name == "snow":
        assert red == green == blue
    else:
        assert red < green < blue


def test_snow_falls() -> None:
    """Pixels above each other are more alike than those beside each other."""
    made = corrupt("snow", 2, flat(60), PLACES).double()
    beside = (made[..., 1:] - made[..., :-1]).abs().mean()
    above = (made[..., 1:, :] - made[..., :-1, :]).abs().mean()
    assert float(above) < 0.9 * float(beside)


def test_ice_has_bright_needles_on_panes_that_go_on_at_their_edges() -> None:
    panes = ice.panes(torch.device("cpu"))
    assert 0 <= float(panes.min()) < float(panes.max()) <= 1
    assert 0.3 < float(panes.mean()) < 0.7
    assert all(float(pane.std()) > 0.1 for pane in panes)
    jump = (panes[..., 0, :] - panes[..., -1, :]).abs().mean()
    usual = (panes[..., 1:, :] - panes[..., :-1, :]).abs().mean()
    assert float(jump) < 1.5 * float(usual)


@every_severity
def test_fog_lowers_contrast_and_never_outshines_the_scene(severity: int, images: Tensor, places: Tensor) -> None:
    made = corrupt("fog", severity, images, places)
    assert (made.flatten(1).amax(1) <= images.flatten(1).amax(1)).all()
    grey = corrupt("fog", severity, flat(128, 3), PLACES[:3]).double()
    assert torch.equal(grey[:, 0], grey[:, 2])
    assert grey.std(dim=(2, 3)).min() > 2


def test_a_landscape_is_the_rougher_the_slower_its_displacements_decay() -> None:
    smooth, rough = landscape(PLACES, 3.0), landscape(PLACES, 1.75)
    for land in (smooth, rough):
        assert land.shape == (200, 32, 32)
        assert torch.equal(land.flatten(1).amin(1), torch.zeros(200))
        assert torch.equal(land.flatten(1).amax(1), torch.ones(200))

    def roughness(land: Tensor) -> float:
        return float((land - land.roll(1, 2)).abs().mean())

    assert roughness(rough) > 1.3 * roughness(smooth)


@every_severity
def test_pixelate_averages_squares(severity: int) -> None:
    count = (30, 28, 27, 24, 20)[severity - 1]
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = corrupt("pixelate", severity, images, PLACES[:4])
    fine = F.interpolate(images.double(), scale_factor=count, mode="nearest")  # whole pixels of both sizes
    small = F.avg_pool2d(fine, 32)
    expected = F.interpolate(small, size=(32, 32), mode="nearest-exact")
    assert (made.double() - expected).abs().max() <= 0.51


@every_severity
def test_jpeg_leaves_a_flat_image_and_blurs_colours_more_than_tones(severity: int) -> None:
    for level in (0, 77, 255):
        made = corrupt("jpeg_compression", severity, flat(level, 3), PLACES[:3]).int()
        assert int((made - level).abs().max()) <= 1
        assert len(made.unique()) == 1
    tones = torch.randint(0, 256, (20, 1, 32, 32), generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    colours = torch.stack([tones[:, 0], 255 - tones[:, 0], torch.full_like(tones[:, 0], 128)], dim=1)
    lost = [
        float((corrupt("jpeg_compression", severity, seen.to(torch.uint8), PLACES[:20]) - seen).double().abs().mean())
        for seen in (tones, colours)
    ]
    assert lost[1] > 2 * lost[0]


def test_a_gaussian_map_is_a_blur_that_keeps_a_columns_edges() -> None:
    blur = maps.gaussian(1.3)
    assert torch.allclose(blur.sum(1), torch.ones(32))
    middle = blur[16].double()
    assert float((middle * (torch.arange(32) - 16) ** 2).sum()) == pytest.approx(1.3**2, rel=0.02)
    assert float(blur[0, 0]) > 0.6


def test_a_zoom_enlarges_about_the_centre() -> None:
    line = torch.arange(32.0)[:, None]
    enlarged = maps.zoom(2.0) @ line
    assert torch.allclose(enlarged.flatten(), 15.5 + (torch.arange(32) - 15.5) / 2)
    assert torch.equal(maps.zoom(1.0), torch.eye(32))


def test_a_displacement_interpolates_and_knows_what_is_beyond() -> None:
    line = torch.arange(32.0).expand(1, 1, 32, 32)
    half = torch.tensor(0.5)
    nothing = torch.tensor(0.0)
    assert torch.allclose(
        maps.displaced(line, half, nothing, "border")[0, 0, 5, :31], torch.arange(31) + 0.5, atol=1e-4
    )
    assert float(maps.displaced(line, half, nothing, "border")[0, 0, 5, 31]) == pytest.approx(31)
    assert float(maps.displaced(line, half, nothing, "reflection")[0, 0, 5, 31]) == pytest.approx(30.5, abs=1e-4)
    assert torch.allclose(maps.displaced(line.mT, nothing, half, "border")[0, 0, 5], torch.tensor(5.5))


def test_fields_are_even_normal_and_unlike_each_other() -> None:
    places = torch.arange(100)
    even, bell = fields.uniform(places, (3, 32, 32), "one"), fields.normal(places, (3, 32, 32), "two")
    assert (even.shape, bell.shape) == ((100, 3, 32, 32), (100, 3, 32, 32))
    assert -1 < float(even.min()) < float(even.max()) < 1
    assert float(even.mean()) == pytest.approx(0, abs=0.005)
    assert float(even.var()) == pytest.approx(1 / 3, rel=0.01)
    assert float(bell.mean()) == pytest.approx(0, abs=0.005)
    assert float(bell.var()) == pytest.approx(1, rel=0.01)
    assert float((bell.abs() < 1).double().mean()) == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.005)
    for field in (even, bell):
        rows = field.flatten(1) - field.flatten(1).mean(1, keepdim=True)
        together = torch.corrcoef(rows) - torch.eye(100)
        assert float(together.abs().max()) < 6 / math.sqrt(3072)
        for lag in (1, 3, 32, 1024, 1536):
            assert abs(float((rows * rows.roll(lag, 1)).mean() / rows.var())) < 0.01


def test_odd_shapes_have_as_many_draws_as_places() -> None:
    drawn = fields.levels(torch.arange(50), (5,), "odd")
    assert drawn.shape == (50, 5)
    assert len(drawn.unique()) > 240
    assert torch.equal(drawn[7:8], fields.levels(torch.tensor([7]), (5,), "odd"))
