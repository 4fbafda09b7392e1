import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from sa2va_cli.config import Prompt
from sa2va_cli.errors import UsageError
from sa2va_cli.media.discover import DiscoverOptions, GivenPath, discover
from sa2va_cli.media.item import printable


def find(*paths, base="", **options):
    return discover(
        [GivenPath(str(path), base=str(base)) for path in paths], DiscoverOptions(**options)
    )


def ids(discovery):
    return [item.item_id for item in discovery.items]


def reasons(discovery):
    return {problem.item_id: problem.reason for problem in discovery.problems}


def test_a_folder_is_searched_to_the_bottom_and_sorted(make_image, tmp_path):
    for name in ("b.png", "a/z.jpg", "a/b/c/deep.webp", "B.png"):
        make_image(f"in/{name}")
    assert ids(find(tmp_path / "in")) == ["B.png", "a/b/c/deep.webp", "a/z.jpg", "b.png"]


def test_an_item_knows_its_file(make_image, tmp_path):
    path = make_image("in/a.png")
    (item,) = find(tmp_path / "in").items
    status = path.stat()
    assert (item.path, item.kind, item.media_kind) == (str(path), "image", "image")
    assert (item.size, item.mtime_ns) == (status.st_size, status.st_mtime_ns)


def test_the_same_stem_in_two_folders_and_with_two_suffixes_stays_apart(make_image, tmp_path):
    for name in ("x/1.png", "x/1.jpg", "y/1.png"):
        make_image(f"in/{name}")
    assert ids(find(tmp_path / "in")) == ["x/1.jpg", "x/1.png", "y/1.png"]


def test_the_same_name_under_two_inputs_gets_the_folder_in_front(make_image, tmp_path):
    paths = [make_image(f"{folder}/in/1.png") for folder in "ab"]
    found = find(tmp_path / "a/in", tmp_path / "b/in")
    assert {item.item_id: item.path for item in found.items} == {
        "1.png": str(paths[0]),
        "in/1.png": str(paths[1]),
    }


def test_single_files_keep_their_folders(make_image, tmp_path, monkeypatch):
    make_image("x/1.png"), make_image("y/1.png")
    monkeypatch.chdir(tmp_path)
    assert ids(find("x/1.png", "./y/../y/1.png")) == ["x/1.png", "y/1.png"]


def test_no_id_leads_out_of_a_folder(make_image, tmp_path, monkeypatch):
    outside = make_image("1.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    whole = str(outside).lstrip("/")
    assert ids(find("../1.png")) == ids(find(outside)) == ids(find("../*.png")) == [whole]
    assert ids(find("..")) == ["1.png"]


def test_a_file_given_twice_is_one_item(make_image, tmp_path, monkeypatch):
    make_image("in/sub/1.png")
    monkeypatch.chdir(tmp_path)
    found = find("in", "in/sub", "in/sub/1.png", tmp_path / "in/sub/1.png", "in/*/*.png")
    assert ids(found) == ["sub/1.png"]


def test_a_folder_that_links_to_its_parent_is_seen_once(make_image, tmp_path):
    make_image("in/sub/1.png")
    (tmp_path / "in/sub/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/self").symlink_to("self")
    assert ids(find(tmp_path / "in")) == ["sub/1.png"]


def test_a_folder_with_two_names_keeps_its_real_one(make_image, tmp_path):
    make_image("in/real/1.png")
    (tmp_path / "in/alias").symlink_to(tmp_path / "in/real")
    assert ids(find(tmp_path / "in")) == ["real/1.png"]


def test_links_that_lead_elsewhere_are_followed(make_image, tmp_path):
    make_image("elsewhere/1.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/file.png").symlink_to(tmp_path / "elsewhere/1.png")
    assert ids(find(tmp_path / "in")) == ["file.png", "folder/1.png"]


def test_strange_names_are_found(make_image, tmp_path):
    names = ["a b.png", "-p.png", "new\nline.png", "日本.png", "é.png", "e\u0301.png", "[x]*.png"]
    for name in names:
        make_image(f"in/{name}")
    assert ids(find(tmp_path / "in")) == sorted(names)
    assert ids(find(*(name for name in names), base=tmp_path / "in")) == sorted(names)


def test_names_that_are_not_utf8_are_printable_and_still_open(make_image, tmp_path):
    source = make_image("in/good.png")
    raw = os.fsencode(tmp_path / "in") + b"/caf\xe9.png"
    source.rename(os.fsdecode(raw))
    make_image("in/caf%E9.png")
    found = find(tmp_path / "in")
    assert [item_id.encode("utf-8") for item_id in ids(found)] == [b"caf%E9.png", b"in/caf%E9.png"]
    assert {os.fsencode(item.path) for item in found.items} == {raw, raw.replace(b"\xe9", b"%E9")}
    assert all(Image.open(item.path) for item in found.items)


def test_printable_spells_only_the_bytes_that_are_wrong():
    assert printable(os.fsdecode("日".encode() + b"\xff/a")) == "日%FF/a"


def test_the_kind_is_told_by_content(make_image, make_video, tmp_path):
    make_image("in/really_png.jpg", format="PNG")
    make_image("in/no_suffix", format="JPEG")
    (tmp_path / "in/film.jpg").write_bytes(make_video("plain.mp4").read_bytes())
    kinds = {item.item_id: item.kind for item in find(tmp_path / "in").items}
    assert kinds == {"really_png.jpg": "image", "no_suffix": "image", "film.jpg": "video"}


def test_other_files_in_a_folder_are_counted_and_those_named_like_media_reported(tmp_path):
    for name in ("notes.txt", "data.bin", "code.ts", "empty.txt"):
        (tmp_path / name).write_bytes(b"" if name == "empty.txt" else b"All free: hello\x00")
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "IMG.CR2").write_bytes(b"II*\0" + bytes(60))
    found = find(tmp_path)
    assert (found.items, found.skipped) == ((), 4)
    assert reasons(found) == {
        "IMG.CR2": "camera raw is not read; develop it to JPEG or TIFF first",
        "empty.mp4": "it is empty (0 bytes)",
        "gone.png": "it cannot be read: No such file or directory",
        "text.jpg": "it is named .jpg, but holds text",
    }


def test_bare_streams_are_videos_or_reported(make_video, tmp_path):
    data = make_video("bare.h264").read_bytes()
    for name, start in (("a.h264", b"\0\0\0\1\x67"), ("b.bin", b"\0\0\1\x27"), ("c.264", b"x")):
        (tmp_path / name).write_bytes(start + data[5:])
    found = find(tmp_path)
    assert [(item.item_id, item.kind) for item in found.items] == [
        ("a.h264", "video"),
        ("b.bin", "video"),
    ]
    assert list(reasons(found)) == ["c.264"]


def test_what_is_named_is_reported_whatever_it_is(tmp_path):
    (tmp_path / "notes.txt").write_text("hello, this is text")
    os.mkfifo(tmp_path / "pipe")
    found = find("notes.txt", "pipe", "missing.png", "*.jpg", base=tmp_path)
    assert reasons(found) == {
        "*.jpg": "no file matches it",
        "missing.png": "it cannot be read: No such file or directory",
        "notes.txt": "it holds text",
        "pipe": "it is no regular file",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_an_unreadable_folder_is_a_problem_and_the_rest_goes_on(make_image, tmp_path):
    make_image("in/a.png"), make_image("in/closed/b.png"), make_image("in/secret.png")
    for name in ("closed", "secret.png"):
        (tmp_path / "in" / name).chmod(0)
    if os.getuid():
        found = find(tmp_path / "in")
        assert ids(found) == ["a.png"]
        assert list(reasons(found)) == ["closed", "secret.png"]
    else:  # root reads everything: ask as nobody
        report = run_as_nobody(tmp_path)
        assert report == "a.png | closed: the folder cannot be read: Permission denied, " + (
            "secret.png: it cannot be read: Permission denied"
        )
    (tmp_path / "in/closed").chmod(0o700)


def run_as_nobody(folder):
    """The result of `discover` in a process that gives up its rights after importing."""
    code = (
        "import os, sys\n"
        "from sa2va_cli.media.discover import *\n"
        "os.chdir(sys.argv[1])\n"
        "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "d = discover([GivenPath('in')])\n"
        "print(*(i.item_id for i in d.items), '|',"
        " ', '.join(f'{p.item_id}: {p.reason}' for p in d.problems), end='')"
    )
    for parent in (folder, *folder.parents[:3]):
        if str(parent) != "/tmp":
            parent.chmod(0o755)
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_a_glob_that_means_nothing_is_a_usage_error(tmp_path, option):
    with pytest.raises(UsageError, match=r"\[z-a\]"):
        find(tmp_path, **{option: ("[z-a]*.png",)})


def test_a_tree_that_means_nothing_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"\*\*/\[z-a\]\*\.png cannot be read"):
        find("in/**/[z-a]*.png", base=tmp_path)


def test_sets_may_hold_what_python_has_plans_for(make_image, tmp_path):
    names = ["[a.png", "&&b.png", "~~c.png", "||d.png", "e.png"]
    for name in names:
        make_image(f"in/{name}")
    assert ids(find(tmp_path / "in", include=("[[&~|]*.png",))) == sorted(names[:4])


def test_include_and_exclude(make_image, tmp_path):
    for name in ("a.png", "B.PNG", "c.jpg", "thumbs/d.png", "x/thumbs/e.png", "x/y/f.png"):
        make_image(f"in/{name}")
    folder = tmp_path / "in"
    assert ids(find(folder, include=("*.png",), exclude=("thumbs",))) == [
        "B.PNG",
        "a.png",
        "x/y/f.png",
    ]
    assert ids(find(folder, include=("x/**",))) == ["x/thumbs/e.png", "x/y/f.png"]
    assert ids(find(folder, include=("thumbs/",))) == ["thumbs/d.png", "x/thumbs/e.png"]
    assert ids(find(folder, exclude=("*/*.png", "[ab].png"))) == [
        "c.jpg",
        "x/thumbs/e.png",
        "x/y/f.png",
    ]
    assert ids(find(folder, exclude=("**/*.png",))) == ["c.jpg"]
    assert find(folder, include=("*.png",)).skipped == 1


def test_filters_also_hold_for_named_files(make_image, tmp_path):
    make_image("in/thumbs/a.png")
    found = find("in/thumbs/a.png", base=tmp_path, exclude=("thumbs",))
    assert (found.items, found.problems, found.skipped) == ((), (), 1)


def test_hidden_names_are_left_out_unless_asked_for(make_image, tmp_path):
    for name in ("a.png", ".trash/b.png", ".c.png"):
        make_image(f"in/{name}")
    assert ids(find(tmp_path / "in")) == ["a.png"]
    assert ids(find(tmp_path / "in", hidden=True)) == [".c.png", ".trash/b.png", "a.png"]
    assert ids(find("in/.c.png", base=tmp_path)) == ["in/.c.png"]


def test_the_output_folder_is_not_an_input(make_image, tmp_path):
    make_image("in/a.png"), make_image("in/out/masks/a.png")
    assert ids(find(tmp_path / "in", skip_folders=(str(tmp_path / "in/out"),))) == ["a.png"]


def test_globs_stand_for_the_paths_they_match(make_image, tmp_path, monkeypatch):
    for name in ("a.png", "b.jpg", "s1/c.png", "s1/t/d.png", "s2/e.jpg"):
        make_image(f"in/{name}")
    (tmp_path / "in/s1/loop").symlink_to(tmp_path / "in/s1")
    monkeypatch.chdir(tmp_path)
    assert ids(find("in/*.png")) == ["in/a.png"]
    assert ids(find("in/**/*.png")) == ["in/a.png", "in/s1/c.png", "in/s1/t/d.png"]
    assert ids(find("**/t/*")) == ["in/s1/t/d.png"]
    assert ids(find("in/s?")) == ["in/s1/c.png", "in/s1/t/d.png", "in/s2/e.jpg"]


def test_globs_and_folders_that_overlap_take_nothing_from_each_other(make_image, tmp_path):
    for name in ("a.jpg", "b.png", "s/c.jpg", "s/d.png"):
        make_image(f"in/{name}")
    (tmp_path / "in/s/notes.txt").write_text("hello")
    everything = ["in/a.jpg", "in/b.png", "in/s/c.jpg", "in/s/d.png"]
    both = find("in/**/*.jpg", "in/**/*.png", base=tmp_path)
    assert (ids(both), both.problems, both.skipped) == (everything, (), 1)
    for inputs in (["in/**/*.jpg", "in"], ["in", "in/**/*.jpg"]):
        found = find(*inputs, base=tmp_path)
        assert {Path(item.path).relative_to(tmp_path).as_posix() for item in found.items} == set(
            everything
        )
        assert (found.problems, found.skipped) == ((), 1)
    with_text = find("in/**/*.jpg", "in/s/notes.txt", base=tmp_path)
    assert reasons(with_text) == {"in/s/notes.txt": "it holds text"}
    assert with_text.skipped == 2, "the PNGs; the text is a problem already"


@pytest.mark.parametrize("second", ["in", "in/s"])
def test_prompts_of_folders_that_overlap_add_up(make_image, tmp_path, second):
    make_image("in/s/a.png")
    one, two = Prompt("dog", "the dog"), Prompt("cat", "the cat")
    for options in (DiscoverOptions(), DiscoverOptions(frames_as_video=True)):
        given = [GivenPath("in", (one,), str(tmp_path)), GivenPath(second, (two,), str(tmp_path))]
        (item,) = discover(given, options).items
        assert item.prompts == (one, two)


def test_inputs_that_overlap_make_one_video_of_a_folder(make_image, tmp_path):
    for name in ("1.jpg", "2.png"):
        make_image(f"in/clip/{name}")
    (whole,) = find(tmp_path / "in", frames_as_video=True).items
    found = find("in/**/*.jpg", "in/**/*.png", base=tmp_path, frames_as_video=True)
    assert [(item.size, item.mtime_ns) for item in found.items] == [(whole.size, whole.mtime_ns)]
    assert found.skipped == 0


def test_a_folder_of_images_can_be_a_video(make_image, make_video, tmp_path):
    sizes = [make_image(f"in/clip/{i}.png").stat().st_size for i in range(3)]
    make_image("in/poster.jpg")
    (tmp_path / "in/clip/film.mp4").write_bytes(make_video("plain.mp4").read_bytes())
    found = find(tmp_path / "in", frames_as_video=True)
    assert [(item.item_id, item.kind, item.media_kind) for item in found.items] == [
        ("clip", "frames", "video"),
        ("clip/film.mp4", "video", "video"),
        ("in", "frames", "video"),
    ]
    assert found.items[0].size == sum(sizes)


@pytest.mark.parametrize(
    ("inputs", "options", "left_out"),
    [
        (["in"], {"include": ("*.jpg",)}, "2.png"),
        (["in"], {"exclude": ("1.*",)}, "1.jpg"),
        (["in/**/*.jpg"], {}, "2.png"),
    ],
)
def test_pictures_cannot_be_left_out_of_a_folder_of_frames(
    make_image, tmp_path, inputs, options, left_out
):
    for name in ("some/1.jpg", "some/2.png", "all/3.jpg"):
        make_image(f"in/{name}")
    (tmp_path / "in/some/notes.txt").write_text("hello")
    found = find(*inputs, base=tmp_path, frames_as_video=True, **options)
    assert [item.path for item in found.items] == [str(tmp_path / "in/all")]
    ((item_id, reason),) = reasons(found).items()
    assert item_id.endswith("some")
    assert f"some were left out ({left_out})" in reason


def test_hidden_pictures_are_no_frames(make_image, tmp_path):
    size = make_image("in/1.png").stat().st_size
    make_image("in/.2.png")
    found = find(tmp_path / "in", frames_as_video=True, hidden=True)
    assert [item.size for item in found.items] == [size]
    assert (found.problems, found.skipped) == ((), 1)


def test_prompts_of_a_file_given_twice_add_up(make_image, tmp_path):
    make_image("a.png")
    one, two = Prompt("dog", "the dog"), Prompt("cat", "the cat")
    given = [GivenPath("a.png", prompts, str(tmp_path)) for prompts in ((one,), (two, one))]
    (item,) = discover(given).items
    assert item.prompts == (one, two)


def make_many(folder, count):
    header = b"\x89PNG\r\n\x1a\n" + bytes(60)
    for number in range(count):
        if number % 1000 == 0:
            (folder / f"{number // 1000:03d}").mkdir()
        (folder / f"{number // 1000:03d}" / f"{number}.png").write_bytes(header)


def test_five_thousand_files_take_half_a_second(tmp_path):
    make_many(tmp_path, 5000)
    start = time.process_time()
    assert len(find(tmp_path).items) == 5000
    assert time.process_time() - start < 0.5


@pytest.mark.slow
def test_two_hundred_thousand_files_take_less_than_twenty_seconds(tmp_path):
    make_many(tmp_path, 200_000)
    start = time.process_time()
    assert len(find(tmp_path).items) == 200_000
    assert time.process_time() - start < 20
