// open_plugin PLUGIN: a program that knows nothing of CUDA, as the project's are. It opens the plug-in, which the
// loader gives the libcudart.so.13 of LD_LIBRARY_PATH, and ends with what the plug-in says.
#include <dlfcn.h>

#include <cstdio>

int main(int argc, char** argv) {
  void* plugin = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (plugin == nullptr) {
    std::fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: open_plugin PLUGIN");
    return 1;
  }
  const int result = reinterpret_cast<int (*)()>(dlsym(plugin, "whole_run"))();
  std::printf("%d\n", result);
  return 0;
}
