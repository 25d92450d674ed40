"""Of what a host prints, the pages of a crash come to one line."""

import subprocess
import sys

from byol_jax import witness

LOG = [
  "18:25:22 waiting for 2 hosts at localhost:47619\n",
  "18:26:13 step 2/100000  loss 3.8514\n",
]
OTHER = ["W1127 18:26:38.1 11396 cuda_dnn.cc:9] a warning of XLA's own\n", "goes on\n"]
# As JAX 0.10.2 printed it, shortened.
NOTICE = [
  "E1127 18:26:38.198739   11396 coordination_service.cc:1520] Shutdown barrier\n",
  "INTERNAL: Barrier failed because: task is set to ERROR: heartbeat timeout.\n",
  "E1127 18:26:38.199477   11407 coordination_service_agent.cc:289] Polled an error\n",
]
CRASH = [
  "F1127 18:26:38.199641   11407 client.h:80] Terminating process because the JAX\n",
  "*** Check failure stack trace: ***\n",
  "    @     0x7f6d4c840634  absl::log_internal::LogMessage::SendToLog()\n",
  "Fatal Python error: Aborted\n",
  "\n",
  "Thread 0x00007f6d701bfb80 (most recent call first):\n",
]
# The same, of a first host whose port another process has.
TAKEN = [
  "E1127 19:09:44.667750   10494 add_port.cc:83] Failed to add port to server: No"
  " address added out of total 1 resolved for '[::]:34713'\n",
  "Fatal Python error: Segmentation fault\n",
  "\n",
  "Thread 0x00007f39445ff6c0 (most recent call first):\n",
]
OURS = ["byol_jax: the disk is full\n"]
LAST_WORD = [f"{witness.ANSWER}{witness.OTHER_HOST}\n"]


def test_what_is_no_crash_is_passed_on():
  lines = LOG + OTHER + ["Traceback (most recent call last):\n", "  File\n"] + OURS
  assert list(witness.passed_on(lines)) == lines


def test_a_crash_is_one_line():
  assert list(witness.passed_on(LOG + NOTICE + CRASH)) == LOG + LAST_WORD


def test_a_port_that_is_taken_is_one_line():
  *log, word = witness.passed_on(LOG + TAKEN)
  assert log == LOG
  assert word == (
    "byol_jax: another process of this host has the port [::]:34713: end it, or give"
    " all hosts another one, by JAX_COORDINATOR_PORT or JAX_COORDINATOR_ADDRESS\n"
  )
  # Of one that is not the hosts', nobody dies.
  assert list(witness.passed_on(TAKEN[:1] + LOG)) == LOG


def test_what_the_runtime_notices_ends_with_the_next_record():
  assert list(witness.passed_on(NOTICE + LOG + NOTICE + OTHER)) == LOG + OTHER


def test_a_command_that_has_said_why_needs_no_other_word():
  for lines in (OURS + NOTICE + CRASH, CRASH[:1] + OURS + CRASH[1:], CRASH + OURS):
    assert list(witness.passed_on(LOG + lines)) == LOG + OURS


def test_it_reads_to_the_end_whatever_bytes_come():
  lines = b"18:26:13 images of \xff\n" + "".join(CRASH).encode()
  ended = subprocess.run(
    [sys.executable, witness.__file__], input=lines, capture_output=True, check=True
  )
  assert ended.stderr == b"18:26:13 images of \xff\n" + LAST_WORD[0].encode()
