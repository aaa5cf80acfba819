#!/bin/sh
# Makes a Debian package: build.sh BINARY VERSION FOLDER. `cargo xtask dist` calls it with what it has built.
set -eu

binary=$1 version=$2 folder=$3
packaging=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
root=$packaging/..
architecture=$(dpkg --print-architecture)
tree=$(mktemp -d)
trap 'rm -rf -- "$tree"' EXIT
umask 022

put() {
    install -D -m "$1" -- "$2" "$tree/$3"
}

put 0755 "$binary" usr/bin/rehome
put 0644 "$packaging/systemd/rehome.service" usr/lib/systemd/system/rehome.service
put 0644 "$packaging/deb/user.conf" usr/lib/systemd/system/rehome.service.d/user.conf
put 0644 "$packaging/deb/sysusers.conf" usr/lib/sysusers.d/rehome.conf
put 0644 "$packaging/examples/one-machine/rehome.toml" etc/rehome/rehome.toml
put 0644 "$packaging/deb/copyright" usr/share/doc/rehome/copyright
put 0644 "$root/README.md" usr/share/doc/rehome/README.md
put 0644 "$root/SECURITY.md" usr/share/doc/rehome/SECURITY.md
cp -R -- "$root/docs" "$tree/usr/share/doc/rehome/docs"
mkdir -p "$tree/usr/share/doc/rehome/examples"
cp -R -- "$packaging/examples/." "$tree/usr/share/doc/rehome/examples"
gzip -9n <"$root/CHANGELOG.md" >"$tree/usr/share/doc/rehome/changelog.gz"

# By the binary itself, so that they fit it.
completions() {
    mkdir -p "$tree/usr/share/$(dirname -- "$2")"
    "$binary" completions "$1" >"$tree/usr/share/$2"
}
completions bash bash-completion/completions/rehome
completions zsh zsh/vendor-completions/_rehome
completions fish fish/vendor_completions.d/rehome.fish
"$binary" man "$tree/usr/share/man/man1" >/dev/null
gzip -9n "$tree"/usr/share/man/man1/*.1

mkdir -p "$tree/DEBIAN"
for script in postinst prerm postrm; do
    install -m 0755 -- "$packaging/deb/$script" "$tree/DEBIAN/$script"
done
echo /etc/rehome/rehome.toml >"$tree/DEBIAN/conffiles"
libraries=
if ldd "$binary" 2>/dev/null | grep -q libc.so; then
    libraries="libc6 (>= $(objdump -T "$binary" | sed -n 's/.*(\{0,1\}GLIBC_\([0-9.]*\).*/\1/p' | sort -uV | tail -n 1)), "
fi
cat >"$tree/DEBIAN/control" <<CONTROL
Package: rehome
Version: $version
Architecture: $architecture
Maintainer: The rehome maintainers <maintainers@rehome.invalid>
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f1)
Depends: ${libraries}ca-certificates
Recommends: systemd
Section: database
Priority: optional
Description: moves a tenant's event history while it is written to
 rehome moves one tenant's event history from one database (PostgreSQL, SQLite) to
 another while the tenant keeps writing. This is the command, and a server for
 applications and operators with its unit for systemd.
CONTROL
find "$tree" -path "$tree/DEBIAN" -prune -o -type d -exec chmod 0755 {} +
mkdir -p "$folder"
file=$folder/rehome_${version}_$architecture.deb
dpkg-deb --root-owner-group "-Z${COMPRESSION:-xz}" --build "$tree" "$file" >/dev/null
echo "$file"
