# SPDX-License-Identifier: Apache-2.0
"""C libraries of several Debian releases, unpacked side by side, and programs built against them.

fetch() asks the archive that this machine's apt is configured for, with state of its own: nothing of the system's
package lists or cache is touched and nothing is installed.  Packages are unpacked, not run; their links are made
relative so that a folder is a sysroot.
"""
import os
import shutil
import subprocess

from harness import SOAK, Skip

RELEASES = ['bullseye', 'bookworm', 'trixie', 'sid']


class Unavailable(Exception):
    """No archive, no network, no apt: the message says which."""


def archive():
    """The Debian archive that apt uses here."""
    if not shutil.which('apt-get'):
        raise Unavailable('there is no apt-get here')
    out = subprocess.run(['apt-get', 'indextargets', '--format', '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)'],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    for line in out.splitlines():
        words = line.split()
        if words[2:3] == ['main'] and '-' not in words[1] and words[3:] in (['Debian'], []):
            return words[0]
    raise Unavailable('apt has no Debian archive configured, or no package lists yet')


class Apt:
    """apt with lists and cache in a folder of ours."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        for name in ('state/lists/partial', 'cache/archives/partial', 'debs'):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        sources = os.path.join(self.folder, 'sources.list')
        keys = '/usr/share/keyrings/debian-archive-keyring.gpg'
        # Archive keys of releases to come are not known to an old keyring: what is fetched is data for a test.
        trust = '[trusted=yes]' if os.path.exists(keys) else ''
        with open(sources, 'w') as f:
            for release in RELEASES:
                f.write('deb %s %s %s main\n' % (trust, archive(), release))
        self.options = ['-o', 'Dir::State=%s/state' % self.folder, '-o', 'Dir::Cache=%s/cache' % self.folder,
                        '-o', 'Dir::Etc::sourcelist=%s' % sources, '-o', 'Dir::Etc::sourceparts=-',
                        '-o', 'Acquire::Languages=none', '-o', 'Acquire::Retries=2', '-o', 'APT::Sandbox::User=root']

    def run(self, *args, cwd=None):
        r = subprocess.run([*args[:1], *self.options, *args[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, cwd=cwd)
        if r.returncode:
            raise Unavailable('%s: %s' % (' '.join(args), r.stdout.strip().splitlines()[-1:]))
        return r.stdout

    def versions(self, package):
        """Versions of a package, oldest release first, each once."""
        found = {}
        for line in self.run('apt-cache', 'madison', package).splitlines():
            _, version, source = (part.strip() for part in line.split('|'))
            for release in RELEASES:
                if ' %s/' % release in ' ' + source:
                    found.setdefault(version, release)
        return sorted(found, key=lambda v: RELEASES.index(found[v]))

    def unpack(self, packages, version, root):
        """Downloads packages of one version and unpacks them into root, which becomes a sysroot."""
        debs = os.path.join(self.folder, 'debs')
        for package in packages:
            have = [n for n in os.listdir(debs) if n.startswith('%s_%s_' % (package, version.replace(':', '%3a')))]
            if not have:
                self.run('apt-get', 'download', '%s=%s' % (package, version), cwd=debs)
                have = [n for n in os.listdir(debs) if n.startswith('%s_%s_' % (package, version.replace(':', '%3a')))]
            part = os.path.join(self.folder, 'part')
            shutil.rmtree(part, ignore_errors=True)
            os.makedirs(part)
            subprocess.run(['dpkg-deb', '-x', os.path.join(debs, have[0]), part], check=True)
            subprocess.run(['cp', '-a', part + '/.', root + '/'], check=True)
            shutil.rmtree(part)
        make_sysroot(root)


def archive_of(w):
    """Apt for a test; only in make soak, and where there is an archive."""
    if not SOAK:
        raise Skip('the C libraries of other releases are fetched only with SEEP_SOAK=1')
    try:
        apt = Apt(w.file('apt'))
        apt.run('apt-get', 'update')
    except Unavailable as e:
        raise Skip(str(e))
    return apt


def make_sysroot(root):
    """Old packages have /lib, new ones /usr/lib only: both must lead there; and no link may lead outside."""
    for name in ('lib', 'lib64'):
        if not os.path.lexists(os.path.join(root, name)) and os.path.isdir(os.path.join(root, 'usr', name)):
            os.symlink('usr/' + name, os.path.join(root, name))
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            if os.path.islink(path) and os.readlink(path).startswith('/'):
                to = os.path.relpath(root + os.readlink(path), folder)
                os.unlink(path)
                os.symlink(to, path)


def find(root, name):
    for folder, _, files in os.walk(root):
        if name in files and os.path.exists(os.path.join(folder, name)):
            return os.path.join(folder, name)
    raise Unavailable('%s is not in the packages' % name)


def build(command, what):
    r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode:
        raise Unavailable('%s cannot be built: %s' % (what, r.stdout.strip()[-400:]))


def library_path(root):
    """What LD_LIBRARY_PATH has to be for a program over the C library in root."""
    return ':'.join(sorted({os.path.dirname(find(root, 'libc.so.6')), root + '/lib/x86_64-linux-gnu'}))


def glibc_gcc(root):
    return ['gcc', '-O2', '-w', '-D_GNU_SOURCE', '--sysroot=' + root, '-B' + os.path.dirname(find(root, 'libc.a')),
            # the kernel's headers are this machine's
            '-idirafter', '/usr/include', '-idirafter', '/usr/include/x86_64-linux-gnu']


def glibc_target(root, targets, folder, name, libraries=()):
    """tests/targets/NAME.c over the C library in root: its loader is written into it, library_path() is for its environment."""
    shared = name.endswith('_plugin')
    path = os.path.join(folder, 'lib%s.so' % name if shared else name)
    build([*glibc_gcc(root), '-g', '-I' + targets,
           *(['-shared', '-fPIC'] if shared else ['-Wl,--dynamic-linker=' + find(root, 'ld-linux-x86-64.so.2')]),
           os.path.join(targets, name + '.c'), '-o', path, *libraries], name)
    return path


def glibc_programs(root, source, folder):
    """[(kind, command)]: the source built against the glibc in root, run by its own loader, and static."""
    common = [*glibc_gcc(root), '-fno-builtin', source]
    dynamic, static = os.path.join(folder, 'dynamic'), os.path.join(folder, 'static')
    build(common + ['-o', dynamic, '-pthread'], 'the dynamic program')
    # Newer compilers' unwinder wants a function that glibc before 2.35 does not have; nothing here unwinds.
    build(common + ['-static', '-o', static, '-Wl,--whole-archive', '-lpthread', '-Wl,--no-whole-archive',
                    '-Wl,--unresolved-symbols=ignore-in-object-files'], 'the static program')
    stripped = os.path.join(folder, 'stripped')
    build(['strip', '-o', stripped, static], 'the stripped program')
    loader = find(root, 'ld-linux-x86-64.so.2')
    return [('dynamic', [loader, '--library-path', library_path(root), dynamic]), ('static', [static]), ('stripped', [stripped])]


def musl_programs(root, source, folder):
    lib, include = os.path.dirname(find(root, 'libc.a')), os.path.dirname(find(root, 'features.h'))
    loader = find(root, 'libc.so')
    common = ['gcc', '-O2', '-fno-builtin', '-w', '-D_GNU_SOURCE', '-nostdinc', '-isystem', include, '-fno-stack-protector',
              '-U_FORTIFY_SOURCE', source]
    start = [os.path.join(lib, 'crti.o')]
    end = [os.path.join(lib, 'crtn.o')]
    dynamic, static = os.path.join(folder, 'dynamic'), os.path.join(folder, 'static')
    # Old loaders run what can be loaded anywhere only, when they are asked to by name.
    build(common + ['-nostdlib', '-pie', '-fPIE', '-o', dynamic, os.path.join(lib, 'Scrt1.o'), *start, '-L' + os.path.dirname(loader), '-lc',
                    '-lgcc', *end, '-Wl,-dynamic-linker,' + loader], 'the dynamic program')
    build(common + ['-nostdlib', '-static', '-no-pie', '-fno-pie', '-o', static, os.path.join(lib, 'crt1.o'), *start,
                    os.path.join(lib, 'libc.a'), '-lgcc', *end], 'the static program')
    return [('dynamic', [loader, dynamic]), ('static', [static])]
