"""Errors of depth and of surface normals."""

from mtlbench.catalogue.variant import (
    ATRC,
    INVPT,
    LIBMTL,
    MTAN,
    MTI,
    MTI_FILES,
    MTI_ONLINE,
    MTLORA,
    OURS,
    Unit,
    Variant,
    region,
)  # fmt: skip


def _depth(name: str, text: str, published_by: str, *, unit: Unit = "label", column: str = "rmse") -> Variant:
    return Variant(f"depth.{name}", ("depth",), text, unit, False, column, published_by)


_ALL = "over the data set's pixels"
_NEAR = "over the pixels whose label is below 80"
_BATCHES = "averaged over batches of 2 images"
_RANGE = "TaskPrompter, MTMamba on Cityscapes"
_RMSE = "root mean square error"
_LOG_RMSE = "root mean square error of the logarithm"
_ABS_REL, _SQ_REL = "mean of |p - g| / g", "mean of (p - g)^2 / g"

DEPTH = (
    _depth("rmse.pixels", f"{_RMSE} {_ALL}", f"{MTI}, {ATRC}, {INVPT}, {MTLORA}"),
    _depth("rmse.images", f"mean over images of the {_RMSE}", "ASTMT"),
    _depth(
        "log_rmse",
        f"{_LOG_RMSE} {_ALL}; those predicted <= 0 dominate",
        f"{MTI}, InvPT",
        unit="log",
        column="log rmse",
    ),
    _depth("abs_rel", f"{_ABS_REL} {_ALL}", INVPT, unit="relative", column="absRel"),
    _depth("sq_rel", f"{_SQ_REL} {_ALL}", INVPT, column="sqRel"),
    _depth("abs_err", f"mean of |p - g| {_BATCHES}", MTAN, column="aErr"),
    _depth("rel_err", f"{_ABS_REL} {_BATCHES}", MTAN, unit="relative", column="rErr"),
    _depth("abs_err.pixels", f"mean of |p - g| {_ALL}", LIBMTL, column="aErr"),
    _depth("rel_err.pixels", f"{_ABS_REL} {_ALL}, p not clamped", LIBMTL, unit="relative", column="rErr"),
    _depth("range.rmse", f"{_RMSE} {_NEAR}", _RANGE),
    _depth("range.log_rmse", f"{_LOG_RMSE} {_NEAR}", _RANGE, unit="log", column="log rmse"),
    _depth("range.abs_rel", f"{_ABS_REL} {_NEAR}", _RANGE, unit="relative", column="absRel"),
    _depth("range.sq_rel", f"{_SQ_REL} {_NEAR}", _RANGE, column="sqRel"),
    *(
        region(
            f"depth.delta{k}",
            f"share of pixels with max(p / g, g / p) < 1.25^{k}",
            OURS,
            tasks=("depth",),
            column=f"δ{k}",
        )
        for k in (1, 2, 3)
    ),
)


def _angle(name: str, text: str, published_by: str, column: str = "mErr") -> Variant:
    return Variant(f"normals.{name}", ("normals",), text, "degrees", False, column, published_by)


def _below(suffix: str, text: str, published_by: str, *, unit: Unit) -> tuple[Variant, ...]:
    """Pixels below three angles, shown as percentages."""
    kind, scale = ("percentage", 1.0) if unit == "percent" else ("share", 100.0)
    return tuple(
        Variant(
            f"normals.{bound}.{suffix}",
            ("normals",),
            f"{kind} of pixels less than {bound} degrees off{text}",
            unit,
            True,
            f"<{bound}°",
            published_by,
            scale,
        )
        for bound in ("11.25", "22.5", "30")
    )


_EIGHT_BITS = ", predictions cut to 8 bits"
_SUM = "over the pixels whose label does not sum to 0"
_ACOS = f"{MTI_ONLINE}, MTLoRA v1, DiTASK"

NORMALS = (
    _angle("mean.pixels.atan2", f"mean angle {_ALL}", f"{ATRC}, {INVPT}, MTLoRA v2"),
    _angle("median.pixels.atan2", f"median angle {_ALL}", OURS, "median"),
    _angle("rmse.pixels.atan2", f"root mean square of the angle {_ALL}", OURS, "rmse"),
    *_below("pixels.atan2", "", OURS, unit="percent"),
    _angle("mean.pixels.acos", f"mean angle {_ALL}", _ACOS),
    _angle("rmse.pixels.acos", "mean angle, printed as rmse by mistake", _ACOS, "rmse (= mean)"),
    *_below("pixels.acos", "", _ACOS, unit="percent"),
    _angle("mean.pixels.file", f"mean angle {_ALL}{_EIGHT_BITS}", MTI_FILES),
    _angle("median.pixels.file", f"median angle {_ALL}{_EIGHT_BITS}", MTI_FILES, "median"),
    _angle("rmse.pixels.file", f"root mean square of the angle {_ALL}{_EIGHT_BITS}", MTI_FILES, "rmse"),
    *_below("pixels.file", _EIGHT_BITS, MTI_FILES, unit="percent"),
    _angle("mean.batches", f"mean angle {_BATCHES}", MTAN),
    _angle("median.batches", f"median angle {_BATCHES}", MTAN, "median"),
    *_below("batches", f", {_BATCHES}", MTAN, unit="share"),
    _angle("mean.all", f"mean angle {_SUM}", LIBMTL),
    _angle("median.all", f"median angle {_SUM}", LIBMTL, "median"),
    *_below("all", f", {_SUM}", LIBMTL, unit="share"),
)
