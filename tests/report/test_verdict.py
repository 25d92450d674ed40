"""The verdict: each answer by a run that deserves it, and none that claims more."""

import pytest

from byol_jax.report import data, runs, verdict
from tests.report import made_up


@pytest.fixture
def answers(tmp_path):
  """Writes a run; {question: finding}."""

  def write(counts=None, settings=None, **files):
    number = len(list(tmp_path.iterdir()))
    folder = made_up.write(tmp_path / f"run{number}", settings, **files)
    (run,) = runs.read([folder])
    found = verdict.findings(run, counts or {})
    return {finding.question: finding for finding in found}

  return write


def with_accuracies(knn, linear, images=1000):
  names = ("encoder", "untrained", "pixels")
  found = {"test_images": images, "collapsed": False, "spread": 0.9}
  for probe, values in (("knn", knn), ("linear", linear)):
    found[probe] = dict(zip(names, values, strict=False))
  return found


LEARNING = "Is it learning?"


@pytest.mark.parametrize(
  ("summary", "answer", "tone"),
  [
    (with_accuracies((0.7, 0.5, 0.3), (0.8, 0.6, 0.5)), "yes", "good"),
    (with_accuracies((0.7, 0.5, 0.3), (0.8, 0.6, 0.5), 4), "no sign of it", "bad"),
    (with_accuracies((0.7, 0.5, 0.9), (0.8, 0.6, 0.5)), "in part", "open"),
    (with_accuracies((0.51, 0.5, 0.5), (0.6, 0.6, 0.6)), "no sign of it", "bad"),
    (with_accuracies((0.2, 0.5, 0.2), (0.3, 0.6, 0.3)), "no, it has unlearned", "bad"),
    (with_accuracies((0.7,), (0.8,)), "cannot be told", "open"),
    (with_accuracies((0.7, 0.5), (0.8, 0.6), None), "cannot be told", "open"),
  ],
)
def test_learning_is_what_exceeds_every_baseline_and_chance(
  answers, summary, answer, tone
):
  found = answers(summary=summary)[LEARNING]
  assert (found.answer, found.tone) == (answer, tone)


def test_the_number_of_images_may_be_that_of_the_data_set(answers):
  summary = with_accuracies((0.7, 0.5), (0.8, 0.6), None)
  assert answers({"probe.test": 1000}, summary=summary)[LEARNING].answer == "yes"


def test_reasons_have_the_numbers(answers):
  reasons = answers()[LEARNING].reasons
  # 2 sqrt(0.7 0.3 / 1002 + 0.5 0.5 / 1002), nearly
  assert reasons[0] == (
    "kNN accuracy, 70.0 %, is above that of the same network untrained"
    " (+20.0 points, between +15.7 and +24.2)."
  )
  assert "1000 test images" in reasons[-1]


@pytest.mark.parametrize(
  ("last", "images", "answer"),
  [
    (0.6, 1000, "yes, so far"),
    (0.41, 1000, "no sign of it so far"),
    (0.2, 1000, "no, so far it unlearns"),
    (0.6, None, "cannot be told"),
  ],
)
def test_a_run_at_work_is_held_against_its_first_step(answers, last, images, answer):
  records = [made_up.record(0, 0.4), made_up.record(7, last)]
  counts = {"probe.valid_test": images} if images else {}
  found = answers(counts, records=records, summary=None)
  assert found[LEARNING].answer == answer
  assert found["Is it finished?"].answer == "not yet"
  assert "Step 7 of 10" in found["Is it finished?"].reasons[0]
  assert found["Which number to trust?"].answer.startswith("none as a result")


@pytest.mark.parametrize(
  ("last", "counts", "answer"),
  [
    (0.6, {"probe.valid_test": 1000}, "yes"),
    (0.41, {"probe.valid_test": 1000}, "in part"),
    (0.2, {"probe.valid_test": 1000}, "no, it has unlearned"),
    (0.6, {}, "cannot be told"),
  ],
)
def test_what_another_run_had_learned_is_not_this_ones(answers, last, counts, answer):
  records = [made_up.record(0, 0.4), made_up.record(10, last)]
  origin = {"setting": "start_from", "run": "runs/good", "step": 10}
  found = answers(counts, records=records, origin=origin)
  assert found[LEARNING].answer == answer
  trust = found["Which number to trust?"].reasons
  assert any("not that which the run began with" in reason for reason in trust)
  origin["setting"] = "continue_from"
  assert answers(counts, records=records, origin=origin)[LEARNING].answer == "yes"


def test_it_may_be_too_early(answers):
  found = answers(records=[made_up.record(0, 0.4)], summary=None)
  assert found[LEARNING].answer == "too early to tell"
  assert found["Is it finished?"].answer == "no"
  found = answers(records=None, summary=None)
  assert found[LEARNING].answer == "cannot be told"
  assert found["Has it collapsed?"].answer == "not known"


def test_without_labels_invariance_is_a_hint(answers):
  def found(*values, images=100):
    records = [
      {"step": step, "score": -value, "valid_invariance": value}
      for step, value in enumerate(values)
    ]
    counts = {"probe.valid_test": images}
    return answers(counts, records=records, summary={"collapsed": False})[LEARNING]

  assert found(0.2, 0.5).answer == "perhaps: its invariance rose"
  assert found(0.2, 0.5).tone == verdict.OPEN
  assert (
    "invariance to views went from 0.2 at step 0 to 0.5" in found(0.2, 0.5).reasons[0]
  )
  assert found(0.5, 0.2).answer == "no sign of it: no invariance"
  few = found(0.2, 0.5, images=7)
  assert few.answer == "cannot be told"
  assert "(1 is all, 0 none), measured on 7 images." in few.reasons[0]
  assert found(0.5).answer == "cannot be told"


def test_a_collapse_without_labels_is_no_learning(answers):
  records = [{"step": step, "score": 1.0 + step} for step in (0, 1)]
  found = answers(records=records, summary={"collapsed": True})[LEARNING]
  assert (found.answer, found.tone) == ("no, it has collapsed", "bad")


def test_collapse_is_what_the_run_has_measured(answers):
  collapsed = made_up.SUMMARY | {"collapsed": True, "spread": 0.01}
  found = answers(summary=collapsed)["Has it collapsed?"]
  assert (found.answer, found.tone) == ("yes", "bad")
  assert "is 0.01 (" in found.reasons[0]
  records = [made_up.record(4, 0.4) | {"valid_collapsed": True, "valid_spread": 0.02}]
  found = answers(records=records, summary=None)["Has it collapsed?"]
  assert found.answer == "yes"
  assert "at step 4 is 0.02 (" in found.reasons[0]
  assert answers()["Has it collapsed?"].answer == "no"


def test_images_that_were_trained_on_are_said_to_be(answers):
  def reasons(counts):
    return " ".join(answers(counts)["Which number to trust?"].reasons)

  assert "12 of its images were trained on too" in reasons({data.SEEN: 12})
  assert "trained on too" not in reasons({data.SEEN: 0})


def test_accuracies_of_probes_that_knew_the_labels_are_not_to_be_trusted(answers):
  found = answers({data.LEARNED: 12, data.SEEN: 12})["Which number to trust?"]
  assert (found.answer.split(":")[0], found.tone) == ("none", "bad")
  assert "12 of the test images are in probe.train too" in found.reasons[0]


def test_a_linear_evaluation_has_its_own_question(answers):
  settings = made_up.config(experiment="linear_eval")
  found = answers(settings=settings, summary={"linear": {"encoder": 0.5}})
  assert found.keys() == {"Is it finished?", "Which number to trust?"}
  assert found["Which number to trust?"].answer == "the final test accuracy, 50.0 %"
  assert "highest of the curve" in found["Which number to trust?"].reasons[0]
  settings["optimiser"]["learning_rate"] = [0.2, 0.1]
  found = answers(settings=settings, summary={"linear": {"encoder": 0.5}})
  assert "looked at once" in found["Which number to trust?"].reasons[0]
  found = answers(settings=settings, summary=None)
  assert found["Which number to trust?"].answer == "none yet"


def test_of_an_experiment_of_ones_own_it_says_that_it_is_finished(answers):
  settings = {"experiment": "centroids", "data": {"name": "photos"}}
  found = answers(settings=settings, records=None, summary={"centroids": {"x": 0.5}})
  assert [finding.answer for finding in found.values()] == ["yes"]


def test_every_rule_names_its_threshold():
  text = " ".join(verdict.RULES)
  assert "2 standard errors" in text
  assert "under 0.1" in text
