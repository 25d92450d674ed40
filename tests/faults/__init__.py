"""What is done to runs, files and hosts on purpose, many times over.

python -m tests.faults                         everything, as docs/reliability.md has it
python -m tests.faults images --count=1000     one kind
"""
