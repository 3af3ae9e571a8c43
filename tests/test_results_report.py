"""Reports: one page that needs nothing else, that says what the class maps say, and in which every text is text."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from sapiens_stream.classes import SAPIENS, SAPIENS2, ClassSet
from sapiens_stream.results.report.comparison import both
from sapiens_stream.results.report.confidence import Confidences
from sapiens_stream.results.report.difference import Difference
from sapiens_stream.results.report.findings import FLICKER, gather
from sapiens_stream.results.report.markup import Markup, element
from sapiens_stream.results.report.timeline import MOST_SPANS, Timeline, clock
from sapiens_stream.results.stored import StoredFrame
from tests.browser import CHROMIUM, chromium
from tests.media import make_video, picture
from tests.program import WAIT
from tests.test_label_video import write as write_label_video
from tests.test_results_export import some_people

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\x1b[31m\u202e"
VOID = {"meta", "img", "br", "link"}


class Reader(HTMLParser):
    """What a page holds; raises where elements are not closed as they were opened."""

    def __init__(self, path):
        super().__init__()
        self.open, self.seen, self.text, self.sources, self.attributes = [], [], [], [], []
        self.feed(path.read_text("utf-8"))
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.attributes += [name for name, _ in attributes]
        self.sources += [value for name, value in attributes if name in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def assert_needs_nothing_else(page):
    assert not {"script", "iframe", "object", "embed", "link", "form"} & set(page.seen)
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert not [name for name in page.attributes if name.startswith("on")]


def moving_maps(count=40, size=(48, 64), jump=None):
    """A person of two classes who wanders; at `jump` all is another class for a frame."""
    for index in range(count):
        class_map = np.zeros(size, np.uint8)
        class_map[10:40, 10 + index // 4 : 30 + index // 4] = 23
        class_map[4:10, 16 + index // 4 : 24 + index // 4] = 3
        if index == jump:
            class_map[class_map == 23] = 12
        yield class_map


def frames(maps, people=False):
    return [
        StoredFrame(
            index=index, name=f"clip/{index:06d}", class_map=each, person_map=some_people(each) if people else None
        )
        for index, each in enumerate(maps)
    ]


# A run


def test_a_label_video_alone_has_a_page(program, tmp_path):
    write_label_video(tmp_path / "clip_labels.mkv", moving_maps(jump=17))
    outcome = program("results", "report", tmp_path)
    assert outcome.code == 0 and "pictures show class maps alone" in outcome.stderr
    page = Reader(tmp_path / "report.html")
    assert_needs_nothing_else(page)
    assert page.seen.count("img") == 8 + 2 * 6
    for words in ("clip_labels.mkv", "40 frames read", "64 × 48", "Areas of the parts", "Lower_Lip", "frame 17"):
        assert words in page.words, words


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=12, vfr=True)


@pytest.mark.parametrize("store", ["labels", "classes"])
def test_a_run_is_told_with_its_pictures_and_its_record(store, clip, program, colour_torchscript, tmp_path):
    run = ("video", clip, "-m", colour_torchscript, "-o", tmp_path, "-q", "--overlay", "none", "--save", store)
    assert program(*run).code == 0
    outcome = program("results", "report", tmp_path, "-o", tmp_path / "pages/page.html")
    assert outcome.code == 0, outcome
    page = Reader(tmp_path / "pages/page.html")
    assert_needs_nothing_else(page)
    for words in ("clip.mp4", "complete", "12 frames read", "float32", "decode", "preset=veryfast", "sapiens-stream 0"):
        assert words in page.words, words
    assert page.seen.count("img") >= 8


def test_photos_have_no_flicker(program, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), picture(number, (60 + number, 80)))
    out = tmp_path / "out"
    assert program("images", "--input", folder, "-o", out, "--shape", 96, 96).code == 0
    assert program("results", "report", out).code == 0
    page = Reader(out / "report.html")
    assert "3 frames read" in page.words and "Flicker" not in page.words
    assert page.seen.count("img") == 3


def test_names_are_text_wherever_they_come_from(clip, program, colour_torchscript, tmp_path):
    run = ("video", clip, "-m", colour_torchscript, "-o", tmp_path, "-q", "--overlay", "none", "--save", "labels")
    assert program(*run).code == 0
    path = tmp_path / "clip_run.json"

    def evil(value):
        if isinstance(value, dict):
            return {
                EVIL + key if key in ("preset", "decode", "python") else key: evil(each) for key, each in value.items()
            }
        if isinstance(value, list):
            return [evil(each) for each in value]
        return value

    record = json.loads(path.read_text())
    for part in ("settings", "stages", "versions"):
        record[part] = evil(record[part])
    record |= {"input": EVIL, "started": EVIL, "device": EVIL, "error": EVIL, "status": EVIL, "seconds": EVIL}
    record["skipped"] = [{"name": EVIL, "reason": EVIL}, 5, {"name": ["x"]}, {"name": "\ud800"}]
    record["damaged"] = "none"
    record["model"] |= {"name": EVIL, "file": EVIL, "sha256": EVIL, "input": [EVIL, 7]}
    record["settings"]["title"] = EVIL * 100
    path.write_text(json.dumps(record))
    names = (*SAPIENS.names[:22], EVIL, *SAPIENS.names[23:])
    write_label_video(tmp_path / "clip_labels.mkv", moving_maps(12), classes=ClassSet(EVIL, names, SAPIENS.colours))
    for command in ((tmp_path,), (tmp_path, tmp_path)):
        outcome = program("results", "report", *command, "-o", tmp_path / "page.html")
        assert outcome.code == 0, outcome
        page = Reader(tmp_path / "page.html")
        assert_needs_nothing_else(page)
        assert len(command) == 2 or EVIL.split()[0] in page.words
        assert not set("\x1b\u202e") & set((tmp_path / "page.html").read_text("utf-8"))


WRONG_RECORDS = {
    "nothing": {},
    "of other kinds": {"settings": 5, "model": [], "stages": "x", "versions": None, "frames": 7, "seconds": True},
    "numbers that are none": {"seconds": 1e400, "frames_per_second": -1e400, "stages": {"a": "b", "c": -1, "d": 1e400}},
}


@pytest.mark.parametrize("changes", WRONG_RECORDS.values(), ids=WRONG_RECORDS.keys())
def test_a_record_may_say_anything(changes, program, tmp_path):
    write_label_video(tmp_path / "clip_labels.mkv", moving_maps(5))
    record = {"schema": "sapiens-stream-run/1", "files": {"single": {"clip_labels.mkv": 1}}, **changes}
    (tmp_path / "clip_run.json").write_text(json.dumps(record))
    outcome = program("results", "report", tmp_path)
    assert outcome.code == 0, outcome
    assert "5 frames read" in Reader(tmp_path / "report.html").words


def test_a_file_of_one_s_own_is_kept(program, tmp_path):
    write_label_video(tmp_path / "clip_labels.mkv", moving_maps(5))
    (tmp_path / "report.html").write_text("mine")
    outcome = program("results", "report", tmp_path)
    assert (outcome.code, len(outcome.complaints)) == (2, 1) and "--overwrite replaces it" in outcome.stderr
    assert (tmp_path / "report.html").read_text() == "mine"
    assert program("results", "report", tmp_path, "--overwrite").code == 0
    assert program("results", "report", tmp_path).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip_labels.mkv", "report.html"]


def test_where_nothing_is_stored_nothing_is_written(program, tmp_path):
    outcome = program("results", "report", tmp_path)
    assert outcome.code == 1 and "holds no class maps" in outcome.stderr
    assert not list(tmp_path.iterdir())


# What is gathered


def test_the_worst_moment_is_where_the_map_jumps():
    found = gather(frames(moving_maps(80, jump=50)), SAPIENS, moving=True)
    worst = max(found.moments.chosen(80))
    assert worst.index in (50, 51)
    assert worst.value == pytest.approx(600 / 648, abs=0.05)
    assert found.timeline.count(FLICKER) == 79
    assert set(found.found) == {3, 23, 12} and found.found[0] == 23
    share = float(np.mean([(each == 23).mean() for each in moving_maps(80, jump=50)]))
    assert found.timeline.share(("area", 23)).mean() == pytest.approx(share)


def test_people_are_counted():
    found = gather(frames(moving_maps(), people=True), SAPIENS, moving=True)
    assert set(found.people) == {3}, "nobody reaches the other's half"
    assert found.people[3] == sum(bool((each[:, :30] > 0).any()) for each in moving_maps())


@pytest.mark.parametrize("count", [1, MOST_SPANS, MOST_SPANS + 1, 10 * MOST_SPANS + 7])
def test_a_timeline_of_any_length_keeps_its_means(count):
    timeline = Timeline()
    for index in range(count):
        timeline.add(index / 25, {"all": index, **({"some": 1.0} if index % 2 else {})})
    assert timeline.spans <= MOST_SPANS
    assert timeline.overall("all") == pytest.approx((count - 1) / 2)
    edges = [min((span + 1) * timeline.frames_a_span, count) for span in range(timeline.spans)]
    lengths = np.diff([0, *edges])
    assert (timeline.share("all") * lengths).sum() == pytest.approx(count * (count - 1) / 2)
    assert (timeline.presence("some") * lengths).sum() == pytest.approx(count // 2)
    assert np.nanmax(timeline.most("all")) == count - 1
    ticks = timeline.ticks()
    assert len(ticks) <= 12 and all(0 <= place <= 1.001 for place, _ in ticks)


def test_times_are_written_as_clocks_have_them():
    assert [clock(each, 1) for each in (0, 61, 3723)] == ["0:00", "1:01", "1:02:03"]
    assert clock(1.92) == "0:01.92"


def test_memory_stays_flat():
    script = (
        "import tracemalloc, numpy as np\n"
        "from sapiens_stream.classes import SAPIENS\n"
        "from sapiens_stream.results.report.findings import gather\n"
        "from sapiens_stream.results.stored import StoredFrame\n"
        "def frames(count):\n"
        "    for i in range(count):\n"
        "        part = np.zeros((8, 8), np.uint8); part[2:5, 2 + i % 3:5] = 3 + i % 5\n"
        "        people = part.astype(np.uint16) * np.uint16(i % 50)\n"
        "        yield StoredFrame(index=i, name=f'clip/{i:06d}', class_map=part, person_map=people)\n"
        "for count in (400, 2000):\n"
        "    tracemalloc.start(); gather(frames(count), SAPIENS, moving=True)\n"
        "    print(tracemalloc.get_traced_memory()[1]); tracemalloc.stop()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 0, done.stderr
    few, many = map(int, done.stdout.split())
    assert many < few + 100_000


def test_confidence_is_that_of_the_statistics(program, tmp_path):
    write_label_video(tmp_path / "clip_labels.mkv", moving_maps(6))
    rows = ["frame,name,pixels,confidence", "0,a,10,0.5", "0,a,30,0.9", "x", "1,a,5,", "2,a,5,7", '"3', "4,a,5,0.25"]
    (tmp_path / "clip_statistics.csv").write_text("\n".join(rows))
    confidences = Confidences(tmp_path / "clip_statistics.csv")
    assert [confidences.of(index) for index in range(6)] == [pytest.approx(0.8), None, None, None, 0.25, None]
    confidences.close()
    assert program("results", "report", tmp_path).code == 0
    assert "Confidence" in Reader(tmp_path / "report.html").words
    (tmp_path / "clip_statistics.csv").write_text("nothing of the kind\n1,2,3")
    assert program("results", "report", tmp_path).code == 0
    assert "Confidence" not in Reader(tmp_path / "report.html").words


# Two runs


def test_two_runs_are_compared_class_by_class():
    ones, twos = list(moving_maps(30)), [np.roll(each, index % 3, 1) for index, each in enumerate(moving_maps(30))]
    difference = Difference(SAPIENS)
    table = np.arange(256, dtype=np.uint8)
    for place, (one, two) in enumerate(both(frames(ones), frames(twos), table, [0, 0])):
        difference.add(place, one, two)
    for index in (3, 23):
        a, b = (np.stack(each) == index for each in (ones, twos))
        assert difference.common[index] == (a & b).sum() and difference.in_two[index] == b.sum()
        each = [(x & y).sum() / (x | y).sum() for x, y in zip(a, b, strict=True)]
        assert difference.timeline.overall(("iou", index)) == pytest.approx(np.mean(each))


def test_frames_of_one_run_alone_are_counted():
    ones, twos = frames(moving_maps(10)), frames(moving_maps(10))
    alone = [0, 0]
    found = [a.index for a, b in both(ones[2:6] + ones[8:], twos[:5] + twos[9:], np.arange(256, dtype=np.uint8), alone)]
    assert found == [2, 3, 4, 9] and alone == [2, 2]


def test_runs_of_other_classes_are_compared_by_name(program, tmp_path):
    turned = np.array([SAPIENS2.names.index(name) for name in SAPIENS.names], np.uint8)
    for folder, classes, maps in (
        ("a", SAPIENS, moving_maps(20)),
        ("b", SAPIENS2, (turned[each] for each in moving_maps(20))),
        ("c", SAPIENS2, (turned[each] for each in moving_maps(20, jump=7))),
    ):
        (tmp_path / folder).mkdir()
        write_label_video(tmp_path / folder / "clip_labels.mkv", maps, classes=classes)
    assert program("results", "report", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "same.html").code == 0
    same = Reader(tmp_path / "same.html")
    assert "100 % mean IoU" in same.words and "differ most" not in same.words
    assert program("results", "report", tmp_path / "a", tmp_path / "c", "-o", tmp_path / "other.html").code == 0
    other = Reader(tmp_path / "other.html")
    assert_needs_nothing_else(other)
    assert "Where they differ most" in other.words and "frame 7" in other.words
    assert other.seen.count("img") == 3


def test_runs_of_another_size_are_not_compared(program, tmp_path):
    for folder, size in (("a", (48, 64)), ("b", (50, 64))):
        (tmp_path / folder).mkdir()
        write_label_video(tmp_path / folder / "clip_labels.mkv", moving_maps(5, size))
    outcome = program("results", "report", tmp_path / "a", tmp_path / "b")
    assert (outcome.code, len(outcome.complaints)) == (1, 1)
    assert "frame 0 is 64x50" in outcome.stderr and not (tmp_path / "a/report.html").exists()


# The page


ESCAPED = {
    "text": (("p", "<b> & 'c'"), {}, "<p>&lt;b&gt; &amp; &#x27;c&#x27;</p>"),
    "an attribute": (("p",), {"title": '"><b>'}, '<p title="&quot;&gt;&lt;b&gt;"></p>'),
    "elements in a list": (("p", [element("b", "<"), None, 5]), {}, "<p><b>&lt;</b>5</p>"),
    "names of attributes": (("p",), {"class_": "a", "aria_label": "b", "id": None}, '<p class="a" aria-label="b"></p>'),
    "no text": (("p", "\ud800"), {}, "<p>\\ud800</p>"),
}


@pytest.mark.parametrize("children, attributes, markup", ESCAPED.values(), ids=ESCAPED.keys())
def test_texts_are_escaped(children, attributes, markup):
    made = element(*children, **attributes)
    assert made == markup and isinstance(made, Markup)


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
def test_a_browser_shows_it(program, tmp_path):
    write_label_video(tmp_path / "clip_labels.mkv", moving_maps(jump=17))
    assert program("results", "report", tmp_path).code == 0
    shots = {}
    with chromium(tmp_path) as page:
        for name, look in {"light": {}, "dark": {"scheme": "dark"}, "narrow": {"width": 390, "mobile": True}}.items():
            page.look(**look)
            page.open(f"file://{tmp_path}/report.html")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
            assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            shots[name] = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
        assert page.evaluate("document.querySelectorAll('svg polygon').length") == 3
        assert not page.exceptions
    assert np.median(shots["light"]) > 200 and np.median(shots["dark"]) < 60


def test_numbers_in_drawings_are_numbers(program, tmp_path):
    write_label_video(tmp_path / "clip_labels.mkv", moving_maps(1))
    assert program("results", "report", tmp_path).code == 0
    assert not re.search(
        r"nan|inf(?!o)", " ".join(re.findall(r"<svg.*?</svg>", (tmp_path / "report.html").read_text()))
    )
