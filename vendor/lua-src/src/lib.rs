//! Builds the Lua 5.1.5 beside it, in place of the crate of the same name in the registry: `mlua` calls it when its
//! feature `vendored` is on. `README.md` lists what differs from the sources of lua.org, and why.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The one version there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Lua51,
}
pub use Version::Lua51;

/// The build of a version, as `mlua-sys` asks for it.
#[derive(Debug, Default)]
pub struct Build {}

/// What was built.
#[derive(Debug)]
pub struct Artifacts {
    include: PathBuf,
    lib: PathBuf,
}

const LIBRARY: &str = "lua5.1";

impl Build {
    #[must_use]
    pub fn new() -> Self {
        Build::default()
    }

    /// Compiles the sources into `OUT_DIR`.
    ///
    /// # Panics
    ///
    /// Outside of a build script, and where the compiler or the file system refuses.
    #[must_use]
    pub fn build(&self, _: Version) -> Artifacts {
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("a build script has OUT_DIR"));
        let target = env::var("TARGET").expect("a build script has TARGET");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua-5.1.5");
        println!("cargo:rerun-if-changed={}", sources.display());
        let (include, lib) = (out.join("include"), out.join("lib"));
        fs::create_dir_all(&include).expect("OUT_DIR can be written");
        let mut build = cc::Build::new();
        build.warnings(false).cargo_metadata(false).include(&sources).flag_if_supported("-fno-common").out_dir(&lib);
        if ["linux", "apple", "bsd", "dragonfly"].iter().any(|os| target.contains(os)) {
            build.define("LUA_USE_LINUX", None);
        }
        if cfg!(debug_assertions) {
            build.define("LUA_USE_APICHECK", None);
        }
        let entries = fs::read_dir(&sources).expect("the sources are beside the crate");
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        build.files(files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "c"))).compile(LIBRARY);
        for header in ["lauxlib.h", "lua.h", "luaconf.h", "lualib.h"] {
            fs::copy(sources.join(header), include.join(header)).expect("OUT_DIR can be written");
        }
        Artifacts { include, lib }
    }
}

impl Artifacts {
    /// Tells cargo where the library is and to link it.
    pub fn print_cargo_metadata(&self) {
        println!("cargo:rustc-link-search=native={}", self.lib.display());
        println!("cargo:rustc-link-lib=static={LIBRARY}");
        println!("cargo:include={}", self.include.display());
        println!("cargo:lib={}", self.lib.display());
    }
}
