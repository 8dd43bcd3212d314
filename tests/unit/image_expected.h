/* Made by tests/fuzz/make_corpus.py: 64-bit FNV-1a of what Pillow makes of the same bytes. */

static const struct {
    const char *file; /* of tests/fuzz/corpus/image */
    uint64_t rgb, grey;
} decoded[] = {
    {"cmyk.jpg", 0x166df753d0376be2u, 0xe1f8ba5fabbae2f6u},
    {"gamma.png", 0x7d4462e8abd51837u, 0x13a08bd4224d4721u},
    {"grey.jpg", 0x7380430c81b91097u, 0x006c747c8f6b4f87u},
    {"grey1.png", 0x8f3e21a0b0e6ddbcu, 0x1064e2b7c5585f46u},
    {"grey16.png", 0x8c8c9dd9226997dcu, 0x07ae3a1f9282aeaau},
    {"grey2.png", 0x0ba931495f7eb949u, 0xdde1612340a27fb5u},
    {"grey4.png", 0x873d71a0e0f22bddu, 0x8a258305b4081275u},
    {"grey4_interlaced.png", 0xe0e97905c5f61d37u, 0x7eb27b7cef8bb77bu},
    {"grey8.png", 0xb48be5076a1cb2c5u, 0xe4d6ba507aed29e1u},
    {"grey_alpha16.png", 0x984afea026a5e3d2u, 0xc300f293bbd61e50u},
    {"grey_alpha8.png", 0x0e3ef344377d2a47u, 0x153b126e0b85535fu},
    {"palette1.png", 0xcf05468a1c4b5c00u, 0x842e14997de071b0u},
    {"palette2.png", 0x4b99df68f7a8a18fu, 0x170b6376be1a09c0u},
    {"palette4.png", 0xf5be26d7d07cd1b7u, 0x4ca8d5c7df4d9883u},
    {"palette8.png", 0xb2b93920a8ff99edu, 0x8f436e589791c41cu},
    {"palette_alpha.png", 0x11c64f826b35df99u, 0xa3a1dec5dc3e9d87u},
    {"progressive.jpg", 0xa076518c95ac7c68u, 0xfab0c2c4bcb2374au},
    {"restart.jpg", 0x0147c6f2c702de2eu, 0x11b88cc11bf38e67u},
    {"rgb.jpg", 0x85ac9a798cbb970du, 0xb78af2e3bdf8a6f7u},
    {"rgb16.png", 0xce151dcc53f9e124u, 0x5f3218941fe846c7u},
    {"rgb8.png", 0x7a0c0fb324b444c0u, 0xa2603f3f0553730du},
    {"rgb_interlaced.png", 0xa892353ab7bf79b6u, 0x2992d438d4410d04u},
    {"rgb_key.png", 0x46615edf862bba99u, 0xda48b6179995197fu},
    {"rgba16.png", 0xcc5cb8e43f06fc17u, 0x5644dd5c8c7c8a4fu},
    {"rgba8.png", 0xe0863a98bafb5840u, 0x2fea62d79383c3a8u},
    {"yuv420.jpg", 0x5c4888849ba3f095u, 0xa4683b424f38ae34u},
    {"yuv422.jpg", 0xd6a6bfc2a3a5e58fu, 0xc9205ef47ddd1222u},
    {"yuv444.jpg", 0x0eb03a1d70ec12afu, 0x1361bab573c35b8du},
};

static const struct {
    uint32_t seed; /* of the noise that is resized */
    int height, width, chans, out_height, out_width, filter;
    uint64_t hash;
} resized[] = {
    {1, 1, 1, 1, 1, 1, 0, 0xaf63b14c8601a37bu},
    {1, 1, 1, 3, 1, 1, 1, 0x70368918303614bau},
    {2, 1, 1, 3, 7, 5, 0, 0xbe1b8a0d424fd010u},
    {2, 1, 1, 3, 7, 5, 1, 0xbe1b8a0d424fd010u},
    {3, 2, 3, 3, 16, 16, 0, 0x4852890860d62e72u},
    {3, 2, 3, 1, 16, 16, 1, 0x9fa7ab8800c83625u},
    {4, 40, 30, 1, 28, 28, 0, 0x8a258acfb823e540u},
    {4, 40, 30, 3, 28, 28, 1, 0x33cfe8c9690a4163u},
    {5, 28, 28, 3, 28, 28, 0, 0x96b81f8838e2ceb3u},
    {5, 28, 28, 3, 28, 28, 1, 0x96b81f8838e2ceb3u},
    {6, 28, 28, 3, 224, 224, 0, 0x01f1d8cddbdc1167u},
    {6, 28, 28, 1, 224, 224, 1, 0x51b006d359ca4729u},
    {7, 17, 61, 1, 16, 61, 0, 0x015cf8997a4939acu},
    {7, 17, 61, 3, 16, 61, 1, 0x2a362f661842738fu},
    {8, 61, 17, 3, 61, 16, 0, 0xe65ee9456fdf6babu},
    {8, 61, 17, 3, 61, 16, 1, 0x4564fb32c4918ba9u},
    {9, 97, 101, 3, 3, 2, 0, 0x528d92ebc62e2aebu},
    {9, 97, 101, 1, 3, 2, 1, 0x423ec27771ff26abu},
    {10, 256, 37, 1, 9, 64, 0, 0xc81c8e884b72dd09u},
    {10, 256, 37, 3, 9, 64, 1, 0x2dafbdd77899da2cu},
    {11, 50, 200, 3, 51, 199, 0, 0xa8b9419bc4d96aa6u},
    {11, 50, 200, 3, 51, 199, 1, 0xda063c85f488a4fbu},
    {12, 333, 299, 3, 248, 248, 0, 0xb25ccee5b4b5cefdu},
    {12, 333, 299, 1, 248, 248, 1, 0x84b15dcb86e1df35u},
};
