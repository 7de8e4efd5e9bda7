// oneDNN, versions 2 and 3, behind one form. The two differ in how a primitive is described: version 2 goes through an
// operation descriptor, version 3 takes the same arguments directly. This is the only file that knows.
#pragma once

#include <string>

#include <oneapi/dnnl/dnnl.hpp>

#include "tensor/types.h"

namespace packhorse::cpu {

inline const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

inline dnnl::memory::data_type type_of(Dtype dtype) {
  return dtype == Dtype::f32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

inline dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

/// Describes a primitive whose scratchpad the caller gives. Throws dnnl::error if oneDNN cannot compute it.
template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc describe(const Arguments&... arguments) {
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), arguments..., user_scratchpad()};
#else
  return {typename Primitive::desc(arguments...), user_scratchpad(), cpu_engine()};
#endif
}

/// Like describe(), for a gradient; `forward` is the description of what it is the gradient of.
template <typename Primitive, typename Forward, typename... Arguments>
typename Primitive::primitive_desc describe_gradient(const Forward& forward, const Arguments&... arguments) {
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), arguments..., forward, user_scratchpad()};
#else
  return {typename Primitive::desc(arguments...), user_scratchpad(), cpu_engine(), forward};
#endif
}

inline dnnl::memory::dims dims_of(const dnnl::memory::desc& desc) {
#if DNNL_VERSION_MAJOR >= 3
  return desc.get_dims();
#else
  return desc.dims();
#endif
}

/// Of the library that is linked at run time, which may be newer than the headers: "2.6.3".
inline std::string onednn_version() {
  const dnnl_version_t& version = *dnnl_version();
  return std::to_string(version.major) + '.' + std::to_string(version.minor) + '.' + std::to_string(version.patch);
}

}  // namespace packhorse::cpu
