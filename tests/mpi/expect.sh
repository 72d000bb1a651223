#!/bin/sh
# expect.sh CODE PATTERN COMMAND...: passes if the command ends with exit code CODE, and its output
# (both streams) has a line that matches the extended regular expression PATTERN.
code=$1
pattern=$2
shift 2
output=$("$@" 2>&1)
got=$?
printf '%s\n' "$output"
if [ "$got" -ne "$code" ]; then
  echo "expected exit code $code, got $got"
  exit 1
fi
if ! printf '%s\n' "$output" | grep -E -q -e "$pattern"; then
  echo "expected a line that matches: $pattern"
  exit 1
fi
