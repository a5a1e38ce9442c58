"""Small tars in the official layout of ILSVRC 2012, with images of our own."""

import importlib.resources
import io
import random
import tarfile
import zlib

import numpy as np
from PIL import Image

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
# Two of the names that the official archive has for what is no RGB JPEG.
CMYK_NAME, PNG_NAME = "n01739381_1309.JPEG", "n02105855_2933.JPEG"


def synsets():
  """The 1000 synsets in the order of the labels."""
  labels = importlib.resources.files("tensorflow_datasets.datasets.imagenet2012")
  return (labels / "labels.txt").read_text().split()


def validation_labels():
  """The 50,000 synsets of the validation images, in the order of their names."""
  labels = importlib.resources.files("tensorflow_datasets.datasets.imagenet2012")
  return (labels / "validation_labels.txt").read_text().split()


def pixels(name, size=(64, 48)):
  """[height, width, 3] of 0..255: a smooth picture that only this name has.

  Args:
    name: whatever tells images apart.
    size: width and height.
  """
  rng = np.random.default_rng(zlib.crc32(str(name).encode()))
  corners = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
  return np.asarray(corners.resize(size, Image.Resampling.BICUBIC))


def encoded(image, kind="JPEG", **options):
  """The bytes of a file.

  Args:
    image: a PIL image, or an array of pixels.
    kind: "JPEG" or "PNG".
    options: for the encoder.
  """
  image = image if isinstance(image, Image.Image) else Image.fromarray(image)
  stream = io.BytesIO()
  image.save(stream, kind, **options)
  return stream.getvalue()


def odd():
  """One image of each odd kind: name -> bytes, for `make(images=...)`.

  CMYK and PNG stand under names that the official archive has them under, the others
  under names that `make` would use anyway: images 1 to 5 of the first class.
  """
  first = synsets()[0]
  exif = Image.Exif()
  exif[0x0112] = 6  # orientation: turn by 90 degrees
  grey = Image.fromarray(pixels("grey")).convert("L")
  return {
    CMYK_NAME: encoded(Image.fromarray(pixels("cmyk")).convert("CMYK")),
    PNG_NAME: encoded(pixels("png"), "PNG"),
    f"{first}_1.JPEG": encoded(grey),
    f"{first}_2.JPEG": encoded(pixels("exif"), exif=exif),
    f"{first}_3.JPEG": encoded(pixels("thin", (1, 40))),
    f"{first}_4.JPEG": encoded(pixels("flat", (40, 1))),
    f"{first}_5.JPEG": encoded(pixels("cut"))[:-300],
  }


def tar(members, *, end=True):
  """The bytes of a tar.

  Args:
    members: name -> bytes, in the order of the archive.
    end: whether to end it with the blocks of zeros that an archive ends with.
  """
  stream = io.BytesIO()
  with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
    for name, content in members.items():
      member = tarfile.TarInfo(name)
      member.size = len(content)
      archive.addfile(member, io.BytesIO(content))
    length = archive.offset
  return stream.getvalue() if end else stream.getvalue()[:length]


def train_members(*, per_class=3, classes=4, images=None, size=(64, 48)):
  """What the training archive holds: "<synset>.tar" -> {image name: bytes}.

  Args:
    per_class: images in each class, named <synset>_1.JPEG, <synset>_2.JPEG, ...
    classes: how many, from the first label on, or the synsets themselves.
    images: name -> bytes, in place of an image or in addition, in the class of its
      name, which is added where it is missing.
    size: width and height of the images.
  """
  chosen = synsets()[:classes] if isinstance(classes, int) else list(classes)
  given = images or {}
  chosen += sorted({name.split("_")[0] for name in given} - set(chosen))
  members = {}
  for synset in chosen:
    of_class = {}
    for i in range(1, per_class + 1):
      name = f"{synset}_{i}.JPEG"
      of_class[name] = given.get(name) or encoded(pixels(name, size))
    of_class |= {n: b for n, b in given.items() if n.startswith(f"{synset}_")}
    members[f"{synset}.tar"] = of_class
  return members


def validation_members(*, validation=6, images=None, size=(64, 48)):
  """What the validation archive holds: image name -> bytes.

  Args:
    validation: how many images.
    images: name -> bytes, in place of those of these names.
    size: width and height of the images.
  """
  names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, validation + 1)]
  # The official archive is not in the order of the names either.
  random.Random(0).shuffle(names)
  given = images or {}
  return {n: given.get(n) or encoded(pixels(n, size)) for n in names}


def make(folder, *, per_class=3, classes=4, validation=6, images=None, size=(64, 48)):
  """Writes both archives.

  Args:
    folder: made if it is missing.
    per_class: training images in each class.
    classes: how many, from the first label on, or the synsets themselves.
    validation: number of validation images; their labels are the official ones of the
      first so many (`validation_labels`).
    images: name -> bytes of training images, such as `odd()`.
    size: width and height of the images.

  Returns:
    The folder.
  """
  folder.mkdir(parents=True, exist_ok=True)
  train = train_members(per_class=per_class, classes=classes, images=images, size=size)
  (folder / TRAIN).write_bytes(tar({name: tar(inner) for name, inner in train.items()}))
  members = validation_members(validation=validation, size=size)
  (folder / VALIDATION).write_bytes(tar(members))
  return folder
