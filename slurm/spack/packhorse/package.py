# NOT TRIED: no Spack was at hand. Names of packages are those of Spack 1.0. It builds the checkout that it is called in:
#   spack dev-build packhorse@main
from spack_repo.builtin.build_systems.makefile import MakefilePackage

from spack.package import *


class Packhorse(MakefilePackage):
    """Trains image classifiers on all of ImageNet: list, pack, train, evaluate, export, predict."""

    license("Apache-2.0")
    version("main")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("cli11", type="build")
    depends_on("nlohmann-json", type="build")
    depends_on("tomlplusplus")
    depends_on("mpi@3.1:")
    depends_on("onednn cpu_runtime=omp")
    depends_on("hdf5")
    depends_on("tbb")
    depends_on("libjpeg-turbo")
    depends_on("libpng")
    depends_on("libarchive")
    depends_on("fmt")
    depends_on("zlib-api")
    depends_on("gnuplot", type="run")
    depends_on("wordnet", type="run")

    conflicts("%gcc@:11", msg="needs a C++20 library as of GCC 12")

    def install(self, spec, prefix):
        make("install", "PREFIX=" + prefix)

    def setup_run_environment(self, env):
        env.set("WNSEARCHDIR", self.spec["wordnet"].prefix.dict)
        env.prepend_path("PATH", self.prefix.share.packhorse.jobs)
