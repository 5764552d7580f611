// Compresses text, unpacks it again and proves that nothing was lost.
//
//     squeeze [KIBIBYTES]      text of that size is made up first; 64 if not given
//
// Two steps, as in many real compressors. LZ77 finds what was there before: the text becomes a row
// of tokens, each a byte or "go back so far, copy so many". Huffman then gives frequent token bytes
// short codes. The compressed form is {text size, token size, 256 code lengths, bits}.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW = 32768, // how far back a copy may reach
    HASH_BITS = 14,
    CHAIN_LIMIT = 48, // candidates looked at for one match
    MATCH_MIN = 4,
    MATCH_MAX = MATCH_MIN + 127,
    CODE_LENGTH_MAX = 24,
    HEADER_SIZE = 8 + 256,
};

typedef struct bytes {
    uint8_t *at;
    size_t size;
    size_t room;
} bytes;

static void fail(const char *reason)
{
    fprintf(stderr, "squeeze: %s\n", reason);
    exit(1);
}

static bytes new_bytes(size_t room)
{
    bytes made = {malloc(room), 0, room};
    if (made.at == NULL) fail("out of memory");
    return made;
}

static void append(bytes *to, uint8_t value)
{
    if (to->size == to->room) fail("output is larger than was thought possible");
    to->at[to->size++] = value;
}

static void append_u32(bytes *to, uint32_t value)
{
    for (int shift = 0; shift < 32; shift += 8) append(to, (uint8_t)(value >> shift));
}

static uint32_t read_u32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

// CRC-32 as in ZIP and PNG.

static uint32_t checksum(const uint8_t *at, size_t size)
{
    uint32_t table[256];
    for (uint32_t value = 0; value < 256; value++) {
        uint32_t entry = value;
        for (int bit = 0; bit < 8; bit++) entry = entry & 1 ? entry >> 1 ^ 0xEDB88320u : entry >> 1;
        table[value] = entry;
    }
    uint32_t sum = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) sum = table[(sum ^ at[i]) & 0xFF] ^ sum >> 8;
    return ~sum;
}

// LZ77. A token is 0 + byte, or (0x80 + length - MATCH_MIN) + distance in two bytes.
// Runs of plain bytes share one 0 token: 1 to 127, then that many bytes.

typedef struct finder {
    const uint8_t *text;
    size_t size;
    int32_t newest[1 << HASH_BITS]; // last position with this hash, or -1
    int32_t before[WINDOW];         // the position before it, by position modulo WINDOW
} finder;

typedef struct match {
    size_t length; // 0: none
    size_t distance;
} match;

static uint32_t hash_at(const finder *self, size_t position)
{
    return read_u32(self->text + position) * 2654435761u >> (32 - HASH_BITS);
}

static size_t common_length(const uint8_t *left, const uint8_t *right, size_t limit)
{
    size_t length = 0;
    while (length < limit && left[length] == right[length]) length++;
    return length;
}

static match find_match(const finder *self, size_t position)
{
    match best = {0, 0};
    size_t rest = self->size - position;
    if (rest < MATCH_MIN) return best;
    size_t limit = rest < MATCH_MAX ? rest : MATCH_MAX;
    int32_t candidate = self->newest[hash_at(self, position)];
    for (int tries = 0; tries < CHAIN_LIMIT && candidate >= 0; tries++) {
        size_t distance = position - (size_t)candidate;
        if (distance >= WINDOW) break;
        size_t length = common_length(self->text + candidate, self->text + position, limit);
        if (length >= MATCH_MIN && length > best.length) best = (match){length, distance};
        candidate = self->before[(size_t)candidate % WINDOW];
    }
    return best;
}

static void remember(finder *self, size_t position)
{
    if (self->size - position < MATCH_MIN) return;
    uint32_t hash = hash_at(self, position);
    self->before[position % WINDOW] = self->newest[hash];
    self->newest[hash] = (int32_t)position;
}

static void append_plain(bytes *to, const uint8_t *text, size_t size)
{
    while (size > 0) {
        size_t run = size < 127 ? size : 127;
        append(to, (uint8_t)run);
        for (size_t i = 0; i < run; i++) append(to, text[i]);
        text += run;
        size -= run;
    }
}

static bytes find_tokens(const bytes *text)
{
    static finder state; // too large for the stack
    state.text = text->at;
    state.size = text->size;
    memset(state.newest, 0xFF, sizeof state.newest);
    bytes tokens = new_bytes(text->size + text->size / 64 + 16);
    size_t plain_start = 0;
    size_t position = 0;
    while (position < text->size) {
        match found = find_match(&state, position);
        size_t step = found.length > 0 ? found.length : 1;
        if (found.length > 0) {
            append_plain(&tokens, text->at + plain_start, position - plain_start);
            append(&tokens, (uint8_t)(0x80 + found.length - MATCH_MIN));
            append(&tokens, (uint8_t)found.distance);
            append(&tokens, (uint8_t)(found.distance >> 8));
            plain_start = position + found.length;
        }
        for (size_t i = 0; i < step; i++) remember(&state, position + i);
        position += step;
    }
    append_plain(&tokens, text->at + plain_start, position - plain_start);
    return tokens;
}

static bytes follow_tokens(const bytes *tokens, size_t text_size)
{
    bytes text = new_bytes(text_size);
    for (size_t i = 0; i < tokens->size;) {
        uint8_t token = tokens->at[i++];
        if (token < 0x80) {
            for (; token > 0; token--) append(&text, tokens->at[i++]);
            continue;
        }
        size_t distance = tokens->at[i] | (size_t)tokens->at[i + 1] << 8;
        i += 2;
        if (distance == 0 || distance > text.size) fail("a copy reaches before the text");
        for (size_t length = token - 0x80u + MATCH_MIN; length > 0; length--)
            append(&text, text.at[text.size - distance]);
    }
    return text;
}

// Huffman codes, canonical: the lengths alone say what they are.

typedef struct codes {
    uint8_t length[256]; // bits, 0: the byte does not occur
    uint32_t code[256];
} codes;

typedef struct node {
    uint64_t count;
    int parent; // 0: none yet; node 0 is a leaf and nobody's parent
} node;

static int take_rarest(const node *nodes, int node_count)
{
    int rarest = -1;
    for (int i = 0; i < node_count; i++) {
        if (nodes[i].count == 0 || nodes[i].parent != 0) continue;
        if (rarest < 0 || nodes[i].count < nodes[rarest].count) rarest = i;
    }
    return rarest;
}

static int join_nodes(node *nodes)
{
    int node_count = 256;
    for (;; node_count++) {
        int left = take_rarest(nodes, node_count);
        if (left < 0) fail("nothing to compress");
        nodes[left].parent = node_count;
        int right = take_rarest(nodes, node_count);
        if (right < 0) return left; // the root, or the only byte there is
        nodes[right].parent = node_count;
        nodes[node_count].count = nodes[left].count + nodes[right].count;
    }
}

static int depth_below(const node *nodes, int leaf, int root)
{
    int depth = 0;
    for (int i = leaf; i != root; i = nodes[i].parent) depth++;
    return depth > 0 ? depth : 1; // a lone byte still needs a bit
}

static void choose_lengths(codes *self, const bytes *tokens)
{
    static node nodes[512];
    memset(nodes, 0, sizeof nodes);
    for (size_t i = 0; i < tokens->size; i++) nodes[tokens->at[i]].count++;
    int root = join_nodes(nodes);
    for (int i = 0; i < 256; i++) {
        int length = nodes[i].count > 0 ? depth_below(nodes, i, root) : 0;
        if (length > CODE_LENGTH_MAX) fail("a code became too long");
        self->length[i] = (uint8_t)length;
    }
}

static void assign_codes(codes *self)
{
    uint32_t next = 0;
    for (int length = 1; length <= CODE_LENGTH_MAX; length++) {
        for (int i = 0; i < 256; i++)
            if (self->length[i] == length) self->code[i] = next++;
        next <<= 1;
    }
}

static void append_bits(bytes *to, const bytes *tokens, const codes *using)
{
    uint64_t waiting = 0;
    int waiting_bits = 0;
    for (size_t i = 0; i < tokens->size; i++) {
        uint8_t value = tokens->at[i];
        waiting = waiting << using->length[value] | using->code[value];
        waiting_bits += using->length[value];
        for (; waiting_bits >= 8; waiting_bits -= 8)
            append(to, (uint8_t)(waiting >> (waiting_bits - 8)));
    }
    if (waiting_bits > 0) append(to, (uint8_t)(waiting << (8 - waiting_bits)));
}

// Reads a code bit by bit: it ends where it is one of the codes of its length.
static bytes read_bits(const bytes *packed, size_t token_size, const codes *using)
{
    uint32_t first_code[CODE_LENGTH_MAX + 1] = {0};
    uint32_t first_place[CODE_LENGTH_MAX + 2] = {0};
    uint8_t in_order[256];
    uint32_t place = 0;
    uint32_t next = 0;
    for (int length = 1; length <= CODE_LENGTH_MAX; length++) {
        first_code[length] = next;
        first_place[length] = place;
        for (int i = 0; i < 256; i++)
            if (using->length[i] == length) in_order[place++] = (uint8_t)i;
        next = (next + place - first_place[length]) << 1;
        first_place[length + 1] = place;
    }
    bytes tokens = new_bytes(token_size);
    uint32_t code = 0;
    int length = 0;
    for (size_t bit = HEADER_SIZE * 8; tokens.size < token_size; bit++) {
        if (bit / 8 >= packed->size) fail("the packed bytes end too early");
        code = code << 1 | (packed->at[bit / 8] >> (7 - bit % 8) & 1);
        length++;
        if (length > CODE_LENGTH_MAX) fail("no such code");
        uint32_t number = code - first_code[length];
        if (number >= first_place[length + 1] - first_place[length]) continue;
        append(&tokens, in_order[first_place[length] + number]);
        code = 0;
        length = 0;
    }
    return tokens;
}

static bytes pack(const bytes *text)
{
    codes using = {0};
    bytes tokens = find_tokens(text);
    choose_lengths(&using, &tokens);
    assign_codes(&using);
    bytes packed = new_bytes(HEADER_SIZE + tokens.size * 2 + 16);
    append_u32(&packed, (uint32_t)text->size);
    append_u32(&packed, (uint32_t)tokens.size);
    for (int i = 0; i < 256; i++) append(&packed, using.length[i]);
    append_bits(&packed, &tokens, &using);
    free(tokens.at);
    return packed;
}

static bytes unpack(const bytes *packed)
{
    codes using = {0};
    memcpy(using.length, packed->at + 8, 256);
    bytes tokens = read_bits(packed, read_u32(packed->at + 4), &using);
    bytes text = follow_tokens(&tokens, read_u32(packed->at));
    free(tokens.at);
    return text;
}

// Text that is like language: words that come again, sentences, now and then a number.
static bytes make_text(size_t size)
{
    static const char *const words[] = {
        "guard",  "page",   "memory", "limit", "module", "engine", "fuel",  "the",
        "a",      "of",     "and",    "runs",  "inside", "stops",  "grows", "never",
        "always", "system", "kernel", "table", "stack",  "value",  "block", "loop",
    };
    bytes text = new_bytes(size);
    uint32_t random = 12345;
    while (text.size < size) {
        char piece[32];
        random = random * 1664525u + 1013904223u;
        uint32_t choice = random >> 16;
        if (choice % 16 == 0)
            snprintf(piece, sizeof piece, "%u. ", (unsigned)(choice / 16));
        else
            snprintf(piece, sizeof piece, "%s ", words[choice % (sizeof words / sizeof *words)]);
        for (const char *at = piece; *at != 0 && text.size < size; at++)
            append(&text, (uint8_t)*at);
    }
    return text;
}

int main(int argument_count, char **arguments)
{
    long kibibytes = argument_count > 1 ? strtol(arguments[1], NULL, 10) : 64;
    if (kibibytes < 1 || kibibytes > 65536) fail("the size is 1 to 65536 KiB");
    bytes text = make_text((size_t)kibibytes * 1024);
    bytes packed = pack(&text);
    bytes again = unpack(&packed);
    printf("text      %zu bytes, crc %08x\n", text.size, (unsigned)checksum(text.at, text.size));
    printf("packed    %zu bytes, crc %08x\n", packed.size,
           (unsigned)checksum(packed.at, packed.size));
    printf("unpacked  %zu bytes, crc %08x\n", again.size, (unsigned)checksum(again.at, again.size));
    if (again.size != text.size || memcmp(again.at, text.at, text.size) != 0)
        fail("the text came back changed");
    printf("nothing was lost\n");
    free(text.at);
    free(packed.at);
    free(again.at);
    return 0;
}
