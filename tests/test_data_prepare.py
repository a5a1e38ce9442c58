"""ImageNet from its tars: the command from start to end, and what stops it."""

import collections
import contextlib
import dataclasses
import errno
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import imagenet_tars as tars
import numpy as np
import pytest
import tensorflow_datasets as tfds
import tqdm
from PIL import Image
from tensorflow_datasets.core import shuffle
from tensorflow_datasets.proto import tf_feature_pb2

from robustjax.data import archives, imagenet2012, prepare, sources
from robustjax.errors import MISTAKE, UserError

ROOT = pathlib.Path(prepare.__file__).parents[2]
# The command where TensorFlow cannot be imported and no network can be reached.
PROGRAM = """
import runpy, socket, sys
def refuse(*_, **__):
  raise AssertionError("the network was asked")
socket.getaddrinfo = socket.socket.connect = refuse
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_others(name, path=None, target=None):
  return None if name.split(".")[0] == "tensorflow" else find(name, path, target)
PathFinder.find_spec = find_others
{change}
runpy.run_module("robustjax.data.prepare", run_name="__main__")
"""
# Stops for good when the first record of a shard is due.
HANG = """
import time
from robustjax.data import imagenet2012
def hang(self, examples):
  print("writing", file=sys.__stdout__, flush=True)
  time.sleep(300)
  yield from examples
imagenet2012._Records._sorted = hang
"""


def arguments(folder, data_dir):
  return ["imagenet2012", f"--archives={folder}", f"--data_dir={data_dir}"]


@contextlib.contextmanager
def started(folder, data_dir, change=""):
  """The command as a process of its own, which does not outlive this."""
  program = [sys.executable, "-c", PROGRAM.format(change=change)]
  with subprocess.Popen(
    [*program, *arguments(folder, data_dir)],
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    try:
      yield process
    finally:
      process.kill()


def files_under(folder):
  paths = sorted(p for p in folder.rglob("*") if p.is_file())
  return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def version(data_dir):
  return data_dir / "imagenet2012" / "5.1.0"


def contents(data_dir, split):
  """The label of every image, by its bytes."""
  source = sources.open_source("imagenet2012", split=split, data_dir=data_dir)
  examples = [source[i] for i in range(len(source))]
  return {example["image"]: example["label"] for example in examples}


def mistake(capsys, folder, data_dir):
  """What the command says where it ends with a mistake: one line."""
  assert prepare.main(arguments(folder, data_dir)) == MISTAKE
  *_, last = capsys.readouterr().err.splitlines()
  assert last.startswith("error: ")
  return last


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tars")
  return tars.make(folder, per_class=6, classes=5, validation=40, images=tars.odd())


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
  """The data directory, and what the command said on stdout and stderr."""
  data_dir = tmp_path_factory.mktemp("data")
  with started(folder, data_dir) as process:
    said = process.communicate(timeout=120)
  assert process.returncode == 0, "".join(said)
  return data_dir, *said


def test_says_what_it_did_and_what_to_do_next(prepared):
  data_dir, out, err = prepared
  assert "Prepared in" in out and str(version(data_dir)) in out
  assert "train: 44 images" in out and "validation: 40 images" in out
  assert "not the official 147,897,477,120" in out
  assert out.splitlines()[-1].endswith(
    "python -m robustjax.main --config=experiments/mbn_alp.py"
    f" --config.data.data_dir={data_dir}"
  )
  assert "Downloading" not in out  # TFDS's own words
  for step in ("reading", "writing"):
    for name, count in ((tars.TRAIN, 44), (tars.VALIDATION, 40)):
      assert f"{step} {name}: 100%" in err and f"{count}.0/{count}.0" in err
  assert "Warning" not in err and "test split" not in err


def test_training_images_keep_their_bytes_and_get_their_labels(prepared):
  found = contents(prepared[0], "train")
  members = tars.train_members(per_class=6, classes=5, images=tars.odd())
  labels = tars.synsets()
  converted = {tars.CMYK_NAME, tars.PNG_NAME}
  for synset, images in members.items():
    for name, content in images.items():
      content = imagenet2012.rgb_jpeg(content) if name in converted else content
      assert found.pop(content) == labels.index(synset[:-4]), name
  assert not found


def test_converted_images_are_rgb_jpegs_of_the_same_picture(prepared):
  found = contents(prepared[0], "train")
  labels = tars.synsets()
  for name, picture in ((tars.CMYK_NAME, "cmyk"), (tars.PNG_NAME, "png")):
    (image,) = (
      image
      for image, label in found.items()
      if label == labels.index(name[:9])
      and Image.open(io.BytesIO(image)).info.get("dpi") == (300, 300)
    )
    image = Image.open(io.BytesIO(image))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    assert abs(tars.pixels(picture) - np.asarray(image, int)).mean() < 12


def test_validation_images_get_the_official_labels(prepared):
  found = contents(prepared[0], "validation")
  labels = tars.synsets()
  synsets = tars.validation_labels()
  for name, content in tars.validation_members(validation=40).items():
    number = int(name[len("ILSVRC2012_val_") : -len(".JPEG")])
    assert found.pop(content) == labels.index(synsets[number - 1]), name
  assert not found


def test_names_are_kept(prepared):
  builder = tfds.builder_from_directory(str(version(prepared[0])))
  names = [example["file_name"] for example in builder.as_data_source("validation")]
  assert sorted(n.decode() for n in names) == sorted(
    tars.validation_members(validation=40)
  )
  assert sorted(builder.info.splits) == ["train", "validation"]


def test_again_gives_the_same_bytes(folder, prepared, tmp_path):
  prepare.prepare(folder, tmp_path)
  assert files_under(version(tmp_path)) == files_under(version(prepared[0]))


def test_sorting_through_files_gives_the_same_bytes(
  folder, prepared, tmp_path, monkeypatch
):
  # As with the official archives, which do not fit into the memory for sorting.
  monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 5000)
  sorting = []
  add = shuffle._Bucket.add
  monkeypatch.setattr(
    shuffle._Bucket, "add", lambda *a: (sorting.append(a[1]), add(*a))[1]
  )
  prepare.prepare(folder, tmp_path)
  assert len(sorting) == 84
  assert files_under(version(tmp_path)) == files_under(version(prepared[0]))


def test_several_shards(folder, tmp_path, monkeypatch):
  monkeypatch.setattr(tfds.core.utils.shard_utils.ShardConfig, "min_shard_size", 8000)
  prepare.prepare(folder, tmp_path)
  shards = json.loads((version(tmp_path) / "dataset_info.json").read_text())["splits"]
  assert all(len(split["shardLengths"]) > 1 for split in shards)
  members = tars.validation_members(validation=40).values()
  assert contents(tmp_path, "validation").keys() == set(members)


def test_nothing_but_the_data_set_is_left(folder, prepared):
  data_dir, *_ = prepared
  assert [p.name for p in data_dir.iterdir()] == ["imagenet2012"]
  family = data_dir / "imagenet2012"
  assert sorted(p.name for p in family.iterdir()) == [prepare.LOCK, "5.1.0"]
  for name, content in files_under(family).items():
    assert str(data_dir).encode() not in content, name
    assert str(folder).encode() not in content, name


def test_records_do_not_depend_on_the_order_of_a_hash(tmp_path):
  image = tf_feature_pb2.Features(feature={"image": tf_feature_pb2.Feature()})
  label = tf_feature_pb2.Features(feature={"label": tf_feature_pb2.Feature()})
  parts = [image.SerializeToString(), label.SerializeToString()]
  records = imagenet2012._Records(None)
  written = set()
  for order in (parts, parts[::-1]):
    features = b"".join(order)
    # Field 1 of an Example, its length, its bytes.
    example = b"\n" + bytes([len(features)]) + features
    written |= set(records._sorted([(1, example)]))
  assert written == {(1, b"\n" + bytes([len(features)]) + parts[0] + parts[1])}


def test_prepared_already_touches_nothing(prepared, tmp_path, capsys):
  data_dir, *_ = prepared
  before = {p: p.stat().st_mtime_ns for p in data_dir.rglob("*")}
  assert prepare.main(arguments(tmp_path / "no archives", data_dir)) == 0
  out = capsys.readouterr().out
  assert f"prepared already: {version(data_dir)}" in out
  assert "train: 44 images" in out and f"--config.data.data_dir={data_dir}" in out
  assert before == {p: p.stat().st_mtime_ns for p in data_dir.rglob("*")}


def test_prepared_but_not_whole_is_named(prepared, tmp_path, capsys):
  shutil.copytree(prepared[0], tmp_path / "data")
  next(version(tmp_path / "data").glob("*train.array_record*")).unlink()
  assert "lacks 1 of the 1 files" in mistake(capsys, tmp_path, tmp_path / "data")


def test_another_version_is_left_alone(folder, tmp_path):
  other = tmp_path / "imagenet2012" / "5.0.0"
  other.mkdir(parents=True)
  (other / "dataset_info.json").write_text("{}")
  prepare.prepare(folder, tmp_path)
  assert version(tmp_path).is_dir()
  assert files_under(other) == {"dataset_info.json": b"{}"}


def test_what_is_in_the_way_is_never_overwritten(folder, tmp_path, capsys):
  version(tmp_path).mkdir(parents=True)
  (version(tmp_path) / "mine").write_text("mine")
  assert f"{version(tmp_path)} is in the way" in mistake(capsys, folder, tmp_path)
  assert files_under(tmp_path) == {"imagenet2012/5.1.0/mine": b"mine"}


def test_test_images_are_left_out(folder, tmp_path):
  shutil.copytree(folder, tmp_path / "tars")
  images = tars.tar({"ILSVRC2012_test_00000001.JPEG": b"x"})
  (tmp_path / "tars" / "ILSVRC2012_img_test.tar").write_bytes(images)
  prepare.prepare(tmp_path / "tars", tmp_path)
  builder = tfds.builder_from_directory(str(version(tmp_path)))
  assert sorted(builder.info.splits) == ["train", "validation"]


def wait_until_it_writes(process):
  for line in process.stdout:
    if line.strip() == "writing":
      return
  pytest.fail(process.stderr.read())


def test_killed_and_started_again(folder, prepared, tmp_path, capsys):
  unfinished = tmp_path / "imagenet2012" / prepare.UNFINISHED
  with started(folder, tmp_path, HANG) as process:
    wait_until_it_writes(process)
    before = sorted(unfinished.rglob("*"))
    # While it lives nobody else may work there, or touch what it has written.
    assert "another process is preparing" in mistake(capsys, folder, tmp_path)
    assert sorted(unfinished.rglob("*")) == before != []
  assert process.returncode == -signal.SIGKILL
  assert unfinished.is_dir()
  # Killed a moment later it would have left something that looks finished.
  version(unfinished).mkdir()
  (version(unfinished) / "much").write_bytes(bytes(1000))
  with pytest.raises(UserError):  # half of it is no data set
    sources.open_source("imagenet2012", split="train", data_dir=tmp_path)
  prepare.prepare(folder, tmp_path)
  assert not unfinished.exists()
  assert files_under(version(tmp_path)) == files_under(version(prepared[0]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(folder, tmp_path, number):
  with started(folder, tmp_path, HANG) as process:
    wait_until_it_writes(process)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
  assert process.returncode == 143
  assert err.splitlines()[-1].startswith("stopped; nothing was kept")
  assert "Traceback" not in err
  family = tmp_path / "imagenet2012"
  assert [p.name for p in family.iterdir()] == [prepare.LOCK]


def test_room_is_checked_before_anything_is_written(
  folder, tmp_path, capsys, monkeypatch
):
  usage = collections.namedtuple("usage", "total used free")
  total = sum(path.stat().st_size for path in folder.iterdir())
  # At the peak TFDS has each split once, and a little.
  for free, enough in ((total, False), (total + prepare._SLACK, True)):
    monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(0, 0, free))
    if enough:
      assert prepare.main(arguments(folder, tmp_path)) == 0
    else:
      said = mistake(capsys, folder, tmp_path)
      assert f"{tmp_path} has 0.0 GB free where 0.3 GB are needed" in said
      assert files_under(tmp_path) == {f"imagenet2012/{prepare.LOCK}": b""}


def test_peak_of_the_disk_is_what_is_asked_for(folder, tmp_path, monkeypatch):
  monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 5000)
  most = 0
  rows = imagenet2012._Records._sorted

  def measured(self, examples):
    nonlocal most
    for row in rows(self, examples):
      most = max(most, sum(len(f) for f in files_under(tmp_path).values()))
      yield row

  monkeypatch.setattr(imagenet2012._Records, "_sorted", measured)
  prepare.prepare(folder, tmp_path)
  total = sum(path.stat().st_size for path in folder.iterdir())
  assert 0 < most < total + 4 * 131072  # a shard is filled up to 128 KiB


def test_full_disk_while_writing(folder, tmp_path):
  # No file may grow beyond this, which writing meets as it meets a full disk.
  limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (99999, 99999))"
  with started(folder, tmp_path, limit) as process:
    _, err = process.communicate(timeout=60)
  assert process.returncode == MISTAKE
  last = err.splitlines()[-1]
  assert last.startswith(f"error: writing under {tmp_path} failed (File too large)")
  assert [p.name for p in (tmp_path / "imagenet2012").iterdir()] == [prepare.LOCK]


def test_data_dir_that_cannot_be_written_to(folder, tmp_path, capsys):
  (tmp_path / "file").write_text("")
  assert "cannot be written to" in mistake(capsys, folder, tmp_path / "file")


@pytest.mark.parametrize("name", ["5.1.0", "dataset_info.json"])
def test_data_set_that_cannot_be_read(
  folder, prepared, tmp_path, capsys, monkeypatch, name
):
  exists = pathlib.Path.exists

  def denied(path, **options):
    if path.name == name:
      raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return exists(path, **options)

  monkeypatch.setattr(pathlib.Path, "exists", denied)
  said = mistake(capsys, folder, prepared[0])
  assert f"{name} cannot be read (Permission denied)" in said


def test_file_system_that_does_not_lock(folder, tmp_path, capsys, monkeypatch):
  def flock(*_):
    raise OSError(errno.ENOTSUP, "Operation not supported")

  monkeypatch.setattr(prepare.fcntl, "flock", flock)
  said = mistake(capsys, folder, tmp_path)
  assert "cannot be locked (Operation not supported)" in said
  assert "file system that locks" in said


def test_number_that_was_not_counted_is_not_said_to_be(folder, capsys):
  train, validation = archives.check(folder)
  size = archives.OFFICIAL[tars.TRAIN].size
  train = dataclasses.replace(train, size=size, counted=False)
  prepare._print_archives((train, validation))
  first, second = capsys.readouterr().out.splitlines()
  assert first.endswith("(the official size; its images are counted as they are read)")
  assert "counted" not in second


def test_open_files(folder, tmp_path, capsys, monkeypatch):
  limits = prepare.resource
  monkeypatch.setattr(imagenet2012, "SORTED_IN_MEMORY", 0)
  monkeypatch.setattr(limits, "getrlimit", lambda _: (256, 1024))
  monkeypatch.setattr(limits, "setrlimit", lambda *a: raised.append(a))
  raised = []
  assert "may open 1024 files here where 1100" in mistake(capsys, folder, tmp_path)
  monkeypatch.setattr(limits, "getrlimit", lambda _: (256, 4096))
  assert prepare.main(arguments(folder, tmp_path)) == 0
  assert raised == [(limits.RLIMIT_NOFILE, (1100, 4096))]


@pytest.mark.parametrize(
  ("given", "says"),
  [
    (["cifar10"], "tfds build cifar10 --file_format=array_record --data_dir=DIR"),
    (["cifar10", "--data_dir=there"], "--data_dir=there "),
    (["imagenet2012", "--data_dir=x"], "--archives=DIR is missing"),
    (["imagenet2012", "--archives=x"], "--data_dir=DIR is missing"),
    ([], "required: name"),
    (["imagenet2012", "--archive"], "--archive"),
    (["imagenet2012", "--archives=no", "--data_dir=no"], "no lacks ILSVRC2012_img"),
    (arguments("no", "gs://b/x"), "--data_dir=gs://b/x is no folder on a disk: prep"),
    (arguments("gs://b/x", "no"), "--archives=gs://b/x is no folder on a disk: copy"),
    (arguments("no", "~nosuchuser/x"), "--data_dir=~nosuchuser/x names a home folder"),
    (arguments("~nosuchuser/x", "no"), "--archives=~nosuchuser/x names a home folder"),
  ],
)
def test_mistakes_on_the_command_line(given, says, capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert prepare.main(given) == MISTAKE
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("error: ") and says in line
  assert not list(tmp_path.iterdir())


def write(found, data_dir):
  return imagenet2012.write(*found, data_dir, lambda *_: tqdm.tqdm(disable=True))


def test_images_that_go_missing(folder, tmp_path):
  train, validation = archives.check(folder)
  more = dataclasses.replace(train, images=45)
  with pytest.raises(UserError, match="gave 44 images where 45 were expected"):
    write((more, validation), tmp_path)
  assert not version(tmp_path).exists()


def test_archive_that_changes_meanwhile(tmp_path):
  tars.make(tmp_path / "tars")
  found = archives.check(tmp_path / "tars")
  path = found[0].path
  path.write_bytes(path.read_bytes()[:-15000])
  with pytest.raises(UserError, match="cannot be read beyond its first 9 images"):
    write(found, tmp_path)
  assert not version(tmp_path).exists()


def test_odd_image_that_cannot_be_converted(tmp_path):
  cut = {tars.CMYK_NAME: b"no image"}
  tars.make(tmp_path / "tars", images=cut)
  says = f"{tars.CMYK_NAME} in .* cannot be decoded .it is neither a JPEG nor a PNG.:"
  with pytest.raises(UserError, match=says):
    write(archives.check(tmp_path / "tars"), tmp_path)


def test_tfds_is_left_as_it_was(folder, tmp_path):
  before = [module.tf for module in imagenet2012._MODULES]
  found = archives.check(folder)
  write(found, tmp_path)
  with pytest.raises(UserError):
    write((dataclasses.replace(found[0], images=1), found[1]), tmp_path / "b")
  after = [module.tf for module in imagenet2012._MODULES]
  assert all(a is b for a, b in zip(before, after, strict=True))
  assert tfds.core.utils.tqdm_utils._active


@pytest.mark.parametrize("mode", ["CMYK", "RGB", "L", "RGBA"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_any_image_becomes_an_rgb_jpeg(mode, subsampling):
  picture = Image.fromarray(tars.pixels("x", (50, 37)))
  if mode in ("CMYK", "RGB", "L"):
    options = {"quality": 100, "subsampling": subsampling, "comment": b"gone"}
    content = tars.encoded(picture.convert(mode), **options)
  else:
    content = tars.encoded(picture.convert(mode), "PNG")
  image = Image.open(io.BytesIO(imagenet2012.rgb_jpeg(content)))
  assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (50, 37))
  assert image.info["dpi"] == (300, 300) and "comment" not in image.info
  expected = np.asarray(picture.convert(mode).convert("RGB"), int)
  assert abs(expected - np.asarray(image)).mean() < 4


def test_cmyk_that_is_not_inverted():
  """Without Adobe's marker 0 is no ink, with it 255 is."""
  content = tars.encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)))
  at = content.index(b"Adobe") - 4
  length = int.from_bytes(content[at + 2 : at + 4], "big")
  without = content[:at] + content[at + 2 + length :]
  colours = [
    Image.open(io.BytesIO(imagenet2012.rgb_jpeg(c))).getpixel((8, 8))
    for c in (content, without)
  ]
  for colour, right in zip(colours, [(0, 255, 255), (0, 0, 0)], strict=True):
    assert max(abs(a - b) for a, b in zip(colour, right, strict=True)) < 6
