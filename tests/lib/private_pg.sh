#!/usr/bin/env bash
# private_pg.sh DIR: a private copy of the installed PostgreSQL in DIR, so that tests install into it and never into the system.
# PostgreSQL finds its files relative to its own binaries, so a copied tree serves as it is.  Prints the copy's pg_config.
set -euo pipefail
dir=${1:?usage: private_pg.sh DIR}
src_config=${PG_CONFIG:-pg_config}
bin=$("$src_config" --bindir)
dst="$dir$bin/pg_config"
if [ ! -x "$dst" ]; then
    for p in "$bin" "$("$src_config" --pkglibdir)" "$("$src_config" --sharedir)" "$("$src_config" --includedir-server)"; do
        mkdir -p "$dir$(dirname "$p")"
        cp -aL "$p" "$dir$(dirname "$p")/" 2>/dev/null || cp -a "$p" "$dir$(dirname "$p")/"
    done
    chmod 755 "$dir"
fi
echo "$dst"
