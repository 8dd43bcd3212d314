/* What kernels call of OpenCL's library, for clang's own back ends without a driver: enough to compile the kernels for GPUs
 * to the instructions that count. */
#ifdef __SPIR__ /* ocloc has all of the library but this: older translators to SPIR-V leave it a call of a function */
int __attribute__((overloadable)) __spirv_SUDotKHR(uint signed_ones, uint unsigned_ones, int format);
#define dot_4x8packed_us_int(codes, weights) __spirv_SUDotKHR(weights, codes, 0)
#else
#define SHIM __attribute__((overloadable, always_inline))

#if defined(__NVPTX__)
SHIM size_t get_local_id(uint d)
{
    return (size_t)(d == 0 ? __nvvm_read_ptx_sreg_tid_x() : d == 1 ? __nvvm_read_ptx_sreg_tid_y() : 0);
}
SHIM size_t get_group_id(uint d)
{
    return (size_t)(d == 0 ? __nvvm_read_ptx_sreg_ctaid_x() : d == 1 ? __nvvm_read_ptx_sreg_ctaid_y() : __nvvm_read_ptx_sreg_ctaid_z());
}
SHIM size_t get_num_groups(uint d)
{
    return (size_t)(d == 0 ? __nvvm_read_ptx_sreg_nctaid_x() : d == 1 ? __nvvm_read_ptx_sreg_nctaid_y() : 1);
}
SHIM void barrier(cl_mem_fence_flags flags)
{
    (void)flags;
    __syncthreads();
}
#elif defined(__AMDGCN__)
SHIM size_t get_local_id(uint d)
{
    return (size_t)(d == 0 ? __builtin_amdgcn_workitem_id_x() : d == 1 ? __builtin_amdgcn_workitem_id_y() : 0);
}
SHIM size_t get_group_id(uint d)
{
    return (size_t)(d == 0 ? __builtin_amdgcn_workgroup_id_x() : d == 1 ? __builtin_amdgcn_workgroup_id_y() : __builtin_amdgcn_workgroup_id_z());
}
SHIM size_t get_num_groups(uint d)
{
    return (size_t)(d == 0   ? __builtin_amdgcn_grid_size_x() / __builtin_amdgcn_workgroup_size_x()
                    : d == 1 ? __builtin_amdgcn_grid_size_y() / __builtin_amdgcn_workgroup_size_y()
                             : 1);
}
SHIM void barrier(cl_mem_fence_flags flags)
{
    (void)flags;
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
#else
#error "no such back end"
#endif

SHIM int min(int x, int y)
{
    return x < y ? x : y;
}
SHIM int max(int x, int y)
{
    return x > y ? x : y;
}
SHIM uint min(uint x, uint y)
{
    return x < y ? x : y;
}
SHIM uint max(uint x, uint y)
{
    return x > y ? x : y;
}
SHIM int clamp(int x, int lo, int hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}
SHIM long clamp(long x, long lo, long hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}
SHIM int mul_hi(int x, int y)
{
    return (int)((long)x * y >> 32);
}
SHIM int add_sat(int x, int y)
{
    const long sum = (long)x + y;
    return (int)clamp(sum, -2147483648L, 2147483647L);
}
SHIM uint mul_hi(uint x, uint y)
{
    return (uint)((ulong)x * y >> 32);
}
SHIM uint clz(uint x)
{
    return x ? (uint)__builtin_clz(x) : 32;
}
SHIM float mad(float x, float y, float z)
{
    return __builtin_fmaf(x, y, z);
}
SHIM size_t get_global_id(uint d)
{
    (void)d;
    return get_group_id(0) * 64 + get_local_id(0); /* of kernels with groups of 64 */
}
SHIM size_t get_global_size(uint d)
{
    return get_num_groups(d) * 64;
}
SHIM float fma(float x, float y, float z)
{
    return __builtin_fmaf(x, y, z);
}
#endif
