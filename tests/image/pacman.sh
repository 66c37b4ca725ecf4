# An Arch package manager at work: makes signed packages and a signed repository, installs from it by file and by HTTP.
# Needs what test_pacman.py names. Runs as root, in bash.
exec 2>&1
export LC_ALL=C
part() { echo "---- $*"; }

part keys
useradd -m builder
chmod 755 /home/builder
cat > /home/builder/make.sh <<'MAKE'
set -e
cd
export GNUPGHOME=$HOME/.gnupg
mkdir -m 700 -p "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-gen-key 'Builder <builder@example.org>' ed25519 sign never 2>/dev/null
gpg --armor --export builder@example.org > builder.asc
mkdir -p one two repo
for version in 1 2; do
    for package in one two; do
        cat > $package/PKGBUILD <<PKGBUILD
pkgname=$package
pkgver=$version
pkgrel=1
arch=(any)
pkgdesc="package $package"
$([ $package = two ] && echo 'depends=(one)')
backup=(etc/$package.conf)
package() {
    install -Dm755 /dev/stdin "\$pkgdir/usr/bin/$package" <<< "#!/bin/sh
echo $package $version"
    install -Dm644 /dev/stdin "\$pkgdir/etc/$package.conf" <<< "conf $version"
}
PKGBUILD
        (cd $package && PKGDEST=$HOME/repo makepkg --force --nodeps --sign > ../log 2>&1) || { cat log; exit 1; }
    done
done
cd repo
rm -f ./*.db* ./*.files*
MAKE
su builder -s /bin/bash -c 'bash /home/builder/make.sh' && echo made
cd /home/builder/repo
ls ./*.pkg.tar* | sed 's/tar\..*\.sig$/sig/; s/tar\..*/tar/' | sort
add() { su builder -s /bin/bash -c "cd ~/repo && repo-add --sign test.db.tar.gz $*" >/tmp/log && echo added || cat /tmp/log; }
packages() { ls "$@" | grep -v '\.sig$' | tr '\n' ' '; }
add "$(packages ./*-1-1-any.pkg.tar*)"

part trust
mkdir -p /etc/pacman.d
cat > /etc/pacman.conf <<CONF
[options]
Architecture = auto
SigLevel = Required DatabaseRequired
RootDir = /
DBPath = /var/lib/pacman/
[test]
Server = file:///home/builder/repo
CONF
pacman-key --init >/dev/null 2>&1
pacman-key --add /home/builder/builder.asc >/dev/null 2>&1
key=$(gpg --quiet --show-keys --with-colons /home/builder/builder.asc 2>/dev/null | awk -F: '/^fpr/ { print $10; exit }')
pacman -Sy --noconfirm >/dev/null && echo 'trusts a stranger' || echo 'does not trust a stranger'
pacman-key --lsign-key "$key" >/dev/null 2>&1 && echo signed

part by file
pacman -Syu --noconfirm >/dev/null && echo synchronised
pacman -S --noconfirm two >/dev/null
two
one
pacman -Q
pacman -Qi two | grep -E '^(Name|Version|Depends On|Required By|Validated By)'
pacman -Ql two
pacman -Qkk 2>&1 | sort
pacman -Qo /usr/bin/one

part by http
add "$(packages ./*-2-1-any.pkg.tar*)"
python3 -u -m http.server 0 --bind 127.0.0.1 > /tmp/http.log 2>&1 &
server=$!
for _ in $(seq 200); do grep -q port /tmp/http.log && break; sleep 0.1; done
port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' /tmp/http.log)
sed -i "s|^Server.*|Server = http://127.0.0.1:$port|" /etc/pacman.conf
echo mine >> /etc/two.conf
pacman -Syu --noconfirm >/dev/null && echo upgraded
two
one
pacman -Q
ls /etc/two.conf*
cat /etc/two.conf /etc/two.conf.pacnew

part spoilt
cp two-2-1-any.pkg.tar.* /tmp
pacman -Sw --noconfirm one >/dev/null && echo fetched
rm -f /var/cache/pacman/pkg/*
for file in $(packages two-2-1-any.pkg.tar*); do echo spoilt >> "$file"; done
pacman -R --noconfirm two >/dev/null
pacman -S --noconfirm two >/dev/null 2>&1 && echo 'takes what is spoilt' || echo 'refuses what is spoilt'
ls /usr/bin/two

part removal
pacman -Q
pacman -Rns --noconfirm one >/dev/null
pacman -Q
ls /usr/bin/one /etc/one.conf /etc/two.conf*
kill $server
wait $server
pacman -Syy --noconfirm >/dev/null 2>&1 && echo 'a server that is gone' || echo 'no server'
su builder -c "gpgconf --kill all"
gpgconf --homedir /etc/pacman.d/gnupg --kill all
