"""What a graph from a file may do without being trusted: tensor operations that reach nothing but their arguments."""

from __future__ import annotations

_CONVOLVE = """
    _convolution _convolution_mode convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    linear addmm matmul mm bmm baddbmm einsum scaled_dot_product_attention
    avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d _adaptive_avg_pool2d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d
    upsample_trilinear3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa
    grid_sampler affine_grid_generator im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle
"""
_NORMALISE = """
    batch_norm native_batch_norm instance_norm layer_norm native_layer_norm group_norm native_group_norm rms_norm
    local_response_norm norm linalg_vector_norm
    softmax log_softmax _softmax dropout dropout_ feature_dropout feature_dropout_ alpha_dropout
"""
_PER_ELEMENT = """
    relu relu_ relu6 relu6_ leaky_relu leaky_relu_ prelu elu elu_ selu selu_ celu celu_ gelu gelu_ silu silu_
    mish mish_ sigmoid sigmoid_ hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ tanh tanh_ softplus
    softsign log_sigmoid glu threshold threshold_ hardshrink softshrink
    add add_ sub sub_ rsub mul mul_ div div_ true_divide floor_divide floordiv remainder fmod pow pow_ square sqrt sqrt_
    rsqrt rsqrt_ exp exp_ expm1 log log_ log1p log2 log10 abs abs_ neg neg_ reciprocal reciprocal_ sign sin cos tan
    asin acos atan atan2 sinh cosh erf erf_ floor floor_ ceil round trunc frac clamp clamp_ clamp_min clamp_min_
    clamp_max clamp_max_ clip minimum maximum addcmul addcdiv lerp where masked_fill masked_fill_ nan_to_num
    eq ne lt le gt ge isnan isinf isfinite logical_and logical_or logical_not logical_xor bitwise_and bitwise_or
    bitwise_not __and__ __or__ __xor__
"""
_REDUCE = """
    sum mean prod std var var_mean std_mean amax amin max min argmax argmin cumsum any all logsumexp topk sort argsort
"""
_ARRANGE = """
    view view_as reshape reshape_as _unsafe_view flatten unflatten permute transpose t swapaxes movedim squeeze
    squeeze_ unsqueeze unsqueeze_ expand expand_as repeat tile cat concat stack hstack vstack split split_with_sizes
    tensor_split chunk unbind narrow select slice index gather index_select take_along_dim roll flip rot90 diagonal
    tril triu pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d
    contiguous clone detach alias lift_fresh_copy to type_as _to_copy copy copy_ fill_ zero_ unfold meshgrid embedding
    broadcast_tensors broadcast_to one_hot index_put index_put_ scatter scatter_ real
"""
_MAKE = """
    zeros zeros_like ones ones_like full full_like arange linspace scalar_tensor tensor new_zeros new_ones new_full eye
    empty empty_like new_empty rand rand_like randn randn_like bernoulli bernoulli_
"""
_OF_SHAPES = """
    size numel dim len is_floating_point is_complex sym_size sym_numel sym_stride item Int Float Bool IntImplicit
    FloatImplicit ScalarImplicit __is__ __isnot__ __not__ __contains__ __getitem__ append list dict keys values
    _set_item format warn device
    __range_length __derive_index ceildiv _assert_scalar _assert_tensor_metadata
    sym_constrain_range_for_size sym_constrain_range
"""

OPERATORS = frozenset(" ".join((_CONVOLVE, _NORMALISE, _PER_ELEMENT, _REDUCE, _ARRANGE, _MAKE, _OF_SHAPES)).split())
"""Names in torch's namespace `aten`."""

NOT_THESE = frozenset({"add.str", "add_.t", "mul.left_t", "mul.right_", "mul_.t"})
"""Of these operators, those that make a text or list longer: repeated, out of all proportion to their number."""

JOIN = "aten::add.t"
MOST_JOINS = 16
"""Lists may be joined that often, outside of loops: each time they can double."""

_PRIMITIVES = """
    Constant GetAttr CallMethod CallFunction If Loop TupleConstruct TupleUnpack TupleIndex ListConstruct ListUnpack
    DictConstruct NumToTensor unchecked_cast Uninitialized RaiseException dtype device layout is_cuda is_nested data
    min max abs unchecked_unwrap_optional requires_grad isinstance Return Param
"""
PRIMITIVES = frozenset(_PRIMITIVES.split())
"""Names in the namespace `prim`, TorchScript's own."""


def allowed(name: str) -> bool:
    """Whether an operator is one of these, by its full name: "aten::add.Tensor"."""
    namespace, _, operator = name.partition("::")
    if namespace == "aten":
        return operator.partition(".")[0] in OPERATORS and operator not in NOT_THESE
    return namespace == "prim" and operator.partition(".")[0] in PRIMITIVES
