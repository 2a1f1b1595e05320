fn main() {
    // Else whatever changes in the folder, a benchmark or an input of a fuzzer, has everything built again.
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "node")]
    napi_build::setup();
}
