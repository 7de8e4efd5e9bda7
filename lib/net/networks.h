// The networks: each is a function from image size and number of classes to a graph.
#pragma once

#include "net/graph.h"

namespace packhorse {

/// Inception-BN of Ioffe and Szegedy (arXiv 1502.03167, figure 5): 2.03 GMAC, 11.3 M parameters for 1,000 classes.
Graph inception_bn(int64_t image_size, int64_t classes);
/// The same with wider lower layers, for all 21,841 classes of ImageNet: 3.42 GMAC, 33.6 M parameters.
Graph inception_bn_21k(int64_t image_size, int64_t classes);
/// For images of 28 to 64 pixels.
Graph inception_bn_small(int64_t image_size, int64_t classes);
/// ResNet-50 (arXiv 1512.03385) with the stride in the 3×3 convolution ("v1.5"): 25.56 M parameters.
Graph resnet_50(int64_t image_size, int64_t classes);

}  // namespace packhorse
