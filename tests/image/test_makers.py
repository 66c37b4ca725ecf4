"""What makes programs, at work in a container: Debian's packages, and the package managers of languages.

Packages come from where the host's own clients get them: with its proxies and certificate authorities, and the indexes
that its environment names.
"""

from __future__ import annotations

import os

import pytest
from tests.image.whole import Noah

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SOURCE = r"""
sed -i 's/^Types: deb$/Types: deb deb-src/' /etc/apt/sources.list.d/debian.sources
apt-get update -q
apt-get install -y --no-install-recommends dpkg-dev build-essential
mkdir /src; cd /src
for package in hello hostname sl; do  # mirrors do not always have all sources
    apt-get source $package && break
done
apt-get build-dep -y $package
cd $package-*/
dpkg-buildpackage -us -uc
dpkg -i ../${package}_*.deb
dpkg -V $package
ls ../*.changes ../*.dsc && echo "built $package"
"""
PIP = """
apt-get install -y --no-install-recommends python3-pip python3-venv python3-dev gcc libc6-dev
python3 -m venv /v
/v/bin/pip install --no-cache-dir --no-binary :all: markupsafe
/v/bin/python -c 'import markupsafe._speedups as it; print(it.__file__.endswith(".so"), it._escape_inner("<"))'
"""
NPM = """
apt-get install -y --no-install-recommends npm
mkdir /n; cd /n; npm init -y; npm install typescript
echo 'const x: number = 6 * 7; console.log("typed", x)' > a.ts; npx tsc a.ts; node a.js
"""
GEM = r"""
apt-get install -y --no-install-recommends ruby-dev gcc make libc6-dev
mkdir -p /g/ext; cd /g
printf 'require "mkmf"\ncreate_makefile "fast"\n' > ext/extconf.rb
printf '#include <ruby.h>\nstatic VALUE six(VALUE self) { return INT2NUM(6 * 7); }\n' > ext/fast.c
printf 'void Init_fast(void) { rb_define_global_function("six", six, 0); }\n' >> ext/fast.c
printf 'Gem::Specification.new { |s| s.name = "fast"; s.version = "1"; s.summary = s.author = "x"\n' > fast.gemspec
printf 's.files = Dir["ext/*"]; s.extensions = ["ext/extconf.rb"] }\n' >> fast.gemspec
gem build fast.gemspec; gem install --local --no-document fast-1.gem
ruby -e 'require "fast"; puts "gem #{six}"'
"""
CARGO = """
apt-get install -y --no-install-recommends cargo
cargo --version
cd /; cargo new hi; cd hi; cargo build; target/debug/hi
"""
GO = r"""
apt-get install -y --no-install-recommends golang-go
mkdir /go; cd /go; printf 'module x\ngo 1.20\n' > go.mod
printf 'package main\nimport "fmt"\nfunc main() { fmt.Println("built", 6*7) }\n' > main.go
go build -o x .; ./x
"""
INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "NPM_CONFIG_REGISTRY")


def test_package_from_its_source(noah_of: Noah, name: str) -> None:
    assert "\nbuilt " in noah_of.shell(name, "debian", SOURCE)


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        pytest.param(PIP, "\nTrue &lt;\n", id="pip"),
        pytest.param(NPM, "\ntyped 42\n", id="npm"),
        pytest.param(GEM, "\ngem 42\n", id="gem"),
        pytest.param(CARGO, "\nHello, world!\n", id="cargo"),
        pytest.param(GO, "\nbuilt 42\n", id="go"),
    ],
)
def test_language(noah_of: Noah, name: str, script: str, shown: str) -> None:
    options = ["--host-certs", *(f"-e{index}={os.environ[index]}" for index in INDEXES if index in os.environ)]
    seen = noah_of.shell(name, "debian", f"exec 2>&1; apt-get update -q; {script}", *options)
    assert shown in seen
