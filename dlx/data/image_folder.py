"""`image-folder`: the user's own images, in one folder per class."""

from dlx.config.data import ImageFolder
from dlx.data.arrays import Arrays, from_arrays
from dlx.data.dataset import Dataset, TargetKind
from dlx.data.files import existing
from dlx.data.images import read_tree


def load_image_folder(config: ImageFolder, target: TargetKind | None) -> Dataset:
    """Read the folder, or the tar archive of one. Its own `val` and `test` folders are used where they are."""
    path = existing(config.path, "data.path")
    size = (config.size, config.size) if isinstance(config.size, int) else config.size
    tree = read_tree(path, size, config.color)
    height_width = tree.parts["train"][0].shape[1:3]
    arrays = Arrays(
        path.name,
        tree.parts["train"],
        tree.parts.get("validation"),
        tree.parts.get("test"),
        classes=tree.classes,
        names=tree.names,
        preprocessing={"kind": "images", "size": list(height_width), "color": config.color},
        report=tree.report,
    )
    return from_arrays(arrays, config, target)
