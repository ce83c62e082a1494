#!/usr/bin/env bash
# check_pitfalls.sh: docs/pitfalls.md says which test holds off which class of bugs.  Every file and check that it names exists, every class has
# a row with a test, and files of the sources that it names exist, too.  Then every name is misspelt once: each must be noticed.
exec /usr/bin/python3 - "$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")" <<'PY'
import functools
import os
import re
import sys

os.chdir(sys.argv[1])
PAGE = 'docs/pitfalls.md'
ROWS = {str(n) for n in range(1, 125)} | {f'R{n}' for n in range(1, 16)}


@functools.lru_cache(None)
def text(path):
    with open(path) as f:
        return f.read()


def runs(test):
    """Does a file that `make check` runs, or that one of them runs, have this name?"""
    if re.fullmatch(r'e2e/[a-z][a-z0-9_]*\.sh|check_[a-z_]+\.sh|unit/test_[a-z_]+\.c|regress/sql/[a-z_]+\.sql|isolation/specs/[a-z_]+\.spec', test):
        return True
    return any(os.path.basename(test) in text(os.path.join(at, name)) or os.path.basename(test).replace('.py', ' import') in text(os.path.join(at, name))
               for at in ('tests/e2e', 'tests/fuzz', 'tests/tpch') for name in sorted(os.listdir(at)) if name.endswith(('.sh', '.py')))


@functools.lru_cache(None)
def holds(test, check):
    """Does the test have a check of exactly this name?"""
    body = text('tests/' + test)
    if test.endswith('.c'):
        return f'cmocka_unit_test({check})' in body
    if test.endswith(('.sql', '.spec')):
        return any(line == check or line.startswith(check + ';') for line in body.split('\n'))
    return any(q + check + q in body for q in '"\'') or f'- {check}"' in body or f'{check}"; bad=1' in body


def source(path):
    return any(os.path.exists(p) for p in (path, 'extension/' + path))


def problems(page):
    found = []
    seen = []
    for line in page.split('\n'):
        cells = [c.strip() for c in re.split(r'(?<!\\) \| ', line.strip('| '))]
        if not re.fullmatch(r'R?\d+', cells[0]):
            continue
        seen.append(cells[0])
        if len(cells) != 4:
            found.append(f'row {cells[0]} has {len(cells)} cells')
            continue
        found += [f'row {cells[0]}: no source file {s}' for s in re.findall(r'`([a-z_0-9/]+\.(?:c|h|sql|awk))`', cells[2]) if not source(s)]
        named = re.findall(r'`([^`]+)`((?: “[^”]+”)+)', cells[3])
        rest = re.sub(r'`[^`]+`(?: “[^”]+”)+(?:; )?', '', cells[3])
        if not named or rest:
            found.append(f'row {cells[0]}: no test, or something else: {rest}')
        for test, checks in named:
            if not os.path.exists('tests/' + test) or not runs(test):
                found.append(f'row {cells[0]}: no test {test}')
                continue
            found += [f'row {cells[0]}: {test} has no check "{c}"' for c in re.findall('“([^”]+)”', checks) if not holds(test, c)]
    if sorted(seen) != sorted(ROWS):
        found.append(f'rows that are missing: {sorted(ROWS - set(seen))}; more than once: {sorted({r for r in seen if seen.count(r) > 1})}')
    return found


page = text(PAGE)
bad = problems(page)
for line in bad:
    print('not ok - ' + line)
tests = set(re.findall(r'`([^`]+)` “', page))
checks = set(re.findall('“([^”]+)”', page)) - {'check'}
if not bad:
    blind = [t for t in tests if not problems(page.replace(f'`{t}` “', f'`{t}x` “', 1))] + [c for c in checks if not problems(page.replace(f'“{c}”', f'“{c}x”'))]
    blind += [r for r in ROWS if not problems(re.sub(rf'(?m)^\| {r} \|.*\n', '', page))]
    bad = blind
    print('\n'.join(f'not ok - a wrong name would not be noticed: {b}' for b in blind) or f'ok - {len(ROWS)} classes, {len(checks)} checks in {len(tests)} files, all there')
sys.exit(1 if bad else 0)
PY
