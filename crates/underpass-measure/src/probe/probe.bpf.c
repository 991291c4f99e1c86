/* What the kernel is asked: programs on raw tracepoints, and the maps by which they tell.
 *
 * `cargo xtask bpf` compiles this to probe.bpf.o, which is checked in. Members of the kernel's
 * structures are named here and found by the loader in the running kernel's type information
 * (CO-RE); only what is used of them is declared. Rust's side of the maps is layout.rs.
 *
 * No byte of a key is left unset: a key with garbage in it would be another key. The frame has 512
 * bytes.
 *
 * Source: linux/bpf.h; `Documentation/bpf/`; the tracepoints net:net_dev_start_xmit,
 * raw_syscalls:sys_exit, skb:skb_copy_datagram_iovec, tcp:tcp_destroy_sock, sock:inet_sock_set_state,
 * sched:sched_process_fork, sched:sched_process_exec, sched:sched_process_exit,
 * exceptions:page_fault_user.
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

#define INLINE static inline __attribute__((always_inline))
#define PROGRAM(tracepoint) \
	int tracepoint(u64 *); \
	__attribute__((section("raw_tp/" #tracepoint), used)) int tracepoint(u64 *ctx)
#define NULL ((void *)0)

char LICENSE[] __attribute__((section("license"), used)) = "Dual MIT/GPL";

/* A test compares this with the source: an object that was not made from it is found. */
__asm__(".pushsection .source,\"\",@progbits\n.incbin \"probe.bpf.c\"\n.popsection");

/* The kernel's structures. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs { unsigned long di, si, dx, r10, r8, orig_ax; };
typedef struct { int counter; } atomic_t;
struct net;
typedef struct { struct net *net; } possible_net_t;
struct ns_common { u32 inum; };
struct net { struct ns_common ns; };
struct pid_namespace { struct ns_common ns; };
struct upid { int nr; struct pid_namespace *ns; };
struct pid { u32 level; struct upid numbers[1]; };
struct signal_struct { atomic_t live; };
struct super_block { u32 s_dev; unsigned long s_flags, s_magic; };
struct address_space;
struct inode {
	u16 i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
	struct address_space *i_mapping;
};
struct qstr { const u8 *name; };
struct dentry { struct dentry *d_parent; struct qstr d_name; struct super_block *d_sb; };
struct path { struct dentry *dentry; };
struct file { u32 f_flags; struct path f_path; struct inode *f_inode; void *private_data; };
struct linux_binprm { struct file *file; };
struct mm_struct { struct file *exe_file; };
struct vm_area_struct {
	unsigned long vm_start, vm_end;
	struct mm_struct *vm_mm;
	struct file *vm_file;
};
struct fdtable { u32 max_fds; struct file **fd; };
struct files_struct { struct fdtable *fdt; };
struct thread_info { u32 status; };
struct task_struct {
	struct thread_info thread_info;
	struct files_struct *files;
	int tgid;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct signal_struct *signal;
};
struct in6_addr { u8 bytes[16]; };
struct sock_common {
	u16 skc_family, skc_num, skc_dport;
	u32 skc_daddr, skc_rcv_saddr;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
	possible_net_t skc_net;
};
typedef struct { int owned; } socket_lock_t;
struct socket;
struct sock {
	struct sock_common __sk_common;
	socket_lock_t sk_lock;
	struct socket *sk_socket;
	u16 sk_protocol;
};
struct socket { struct sock *sk; };
struct socket_alloc { struct inode vfs_inode; };
struct tcp_ulp_ops { char name[16]; };
struct inet_connection_sock { struct tcp_ulp_ops *icsk_ulp_ops; };
struct net_device { int ifindex; };
struct sk_buff {
	struct sock *sk;
	u32 len, data_len;
	u16 transport_header, network_header;
	u32 end;
	u8 *head, *data;
};
struct skb_frag { u64 netmem; u32 len; };
/* As it was until 6.10, and what it was an alias of until 6.6. */
struct skb_frag___page { void *bv_page; };
struct bio_vec { void *bv_page; u32 bv_len; };
struct skb_shared_info { u8 flags, nr_frags; struct skb_frag frags[17]; };
struct address_space { struct inode *host; };
struct page { unsigned long compound_head; struct address_space *mapping; };

#pragma clang attribute pop

/* Where a TCP header has what is read of it. */
struct tcp_head { u32 ports, sequence, acknowledged; u8 length; };

#define OFFSET_OF_MEMBER 0
#define SIZE_OF_TYPE 1
#define EXISTS_FIELD 2
#define ID_OF_TARGET 1
#define TYPE_EXISTS(type) __builtin_preserve_type_info(*(type *)0, 0)
#define TYPE_SIZE(type) __builtin_preserve_type_info(*(type *)0, SIZE_OF_TYPE)
#define FIELD_EXISTS(type, field) __builtin_preserve_field_info(((type *)0)->field, EXISTS_FIELD)

/* Helpers of the kernel, by their numbers in linux/bpf.h. */
static void *(*const map_look_up)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 how) = (void *)2;
static long (*const map_delete)(void *map, const void *key) = (void *)3;
static u32 (*const this_processor)(void) = (void *)8;
static u64 (*const this_pid_tgid)(void) = (void *)14;
static struct task_struct *(*const this_task)(void) = (void *)35;
static long (*const read_user)(void *to, u32 len, const void *from) = (void *)112;
/* Answers with the length, the terminating zero with it. */
static long (*const read_text)(void *to, u32 len, const void *from) = (void *)115;
static struct task_struct *(*const this_task_typed)(void) = (void *)158;
typedef long look_at_area(struct task_struct *task, struct vm_area_struct *area, void *context);
/* Since Linux 5.17. */
static long (*const loop)(u32 times, long (*each)(u32 index, void *context), void *context,
			  u64 flags) = (void *)181;
static long (*const find_area)(struct task_struct *task, u64 at, look_at_area *look, void *context,
			       u64 flags) = (void *)180;
static long (*const read_kernel)(void *to, u32 len, const void *from) = (void *)113;
/* bpf_rdonly_cast, a function of the kernel since 6.2 and no helper: the loader puts its type for
 * this number. What it answers is read directly, and what is not memory is zero then, too. */
static void *(*const rdonly_cast)(const void *address, u32 type) = (void *)9000001;

#define ANY 0 /* Set a value whether its key is there or not, */
#define NEW 1 /* or only if it is not: another processor may have been faster. */

/* What the loader knows; constants by the time that the verifier comes by. */
struct settings {
	/* Whether there is rdonly_cast; a read costs one nanosecond then, and twenty otherwise. */
	u32 reads_directly;
	/* The inode of the PID namespace whose numbers are told; 0 where it is the first. */
	u32 namespace;
};
const volatile struct settings settings = {};

/* Which arguments of a call are what; for numbers of calls, from call.rs. */
struct shape {
	/* 1 to 6; 0 is none, 7 is what it returned. */
	u8 source, target, flags;
	u8 buffer;
	/* Whether it returns a number of bytes. */
	u8 is_counted;
	u8 kind;
	u8 unused[2];
};
enum kind { ORDINARY, PROBING, MAPPING, UNMAPPING, SUBMITTING };
#define RETURNED 7
#define NUMBERS 512
const volatile struct shape shapes[NUMBERS] = {};

enum buffer { NO_BUFFER, PLAIN, VECTOR, MESSAGE };

/* Values of maps begin with these. */
static const u64 zeros[16] = {};

#define READ_ID __builtin_btf_type_id(*(struct pt_regs *)0, ID_OF_TARGET)

/* What is at an address of the kernel; zero where there is no memory. */
#define READ_AT(address) ({ \
	typeof(address) at_ = (address); \
	typeof(*at_) value_; \
	if (settings.reads_directly) \
		value_ = *(typeof(at_))rdonly_cast(at_, READ_ID); \
	else \
		read_kernel(&value_, sizeof(value_), at_); \
	value_; })

#define READ(from, member) READ_AT(&(from)->member)

struct file_key { u32 mode, device; u64 inode; };

struct call_key {
	u32 process, number;
	struct file_key source, target, memory;
	u32 flags, unused;
};
/* In place of a file's mode, of the memory that a call gave. */
#define OWN 1
#define NOT_SEEN 2
#define IS_ZERO_COPY 1
#define IS_DIRECT 2
#define BEFORE_SENDING 4

struct call_value {
	u64 calls, failures, bytes;
	/* The first bytes that it gave last. */
	u8 head[8];
};

struct follower {
	/* Whether a byte of its went to a TCP socket. */
	u64 has_sent;
	/* Until then: how much it read last by which row of calls. */
	u64 bytes;
	struct call_key reading;
};

/* Of a program's file, which processes map again and again, the process is 0. */
struct mapped_key { u32 process, unused; struct file_key file; };
struct mapped { u64 bytes; u32 is_program, is_written; };
/* An area of an earlier look may have gone since. */
struct area_key { u32 process, look; u64 start; };

/* Key of the maps that count pages; the value is a number of bytes. */
struct page_key {
	/* A socket's inode, or a process. */
	u64 owner;
	u32 interface, lent, origin, device;
	u64 inode;
};
enum origin { LINEAR, KERNEL, PAGE_CACHE, ANONYMOUS };
/* AGAIN is in place of how it was lent: bytes that left again. */
enum lent { NOT_LENT, SHARED, ZERO_COPY, AGAIN };

/* Payload that left, each byte once: in pages of files that are lent, and otherwise. */
struct left { u64 of_files, others; };

struct known {
	u64 inode;
	/* The sequence number after the highest sent. */
	u32 next;
	/* The first followed process that is known to use it; 0 for none so far. */
	u32 process;
	u32 is_named, is_begun;
	u64 has_upper;
	/* Address of the device by which the highest left. */
	u64 device;
	struct left left;
};

struct name {
	u32 process;
	u16 family, local_port;
	/* In network order, as the kernel keeps it. */
	u16 peer_port, unused;
	/* The inode of the network it is in. */
	u32 network;
	u8 peer[16], local[16], upper[16];
};

#define PROGRAM_LEN 64
struct process {
	u64 user_faults, is_32_bit;
	/* What it executed last. */
	char program[PROGRAM_LEN];
};

/* A file's names from the last to the first beneath the root of a file system: its own, or one
 * that shows it. */
#define PARTS 16
#define PART_LEN 128
struct names {
	u32 count, device;
	char part[PARTS][PART_LEN];
};
struct names_key { u64 device, inode; };

/* A line of the cache, so that processors do not wait for each other. */
struct toll { u64 paid, unused[7]; };
/* Processors told apart; beyond them, two share a count. */
#define PROCESSORS 64
/* What a call of a followed process pays in addition to any call: what it takes in a busy server,
 * where keys are many and caches cold; and a packet. */
#define TOLL_FOLLOWED 15
#define TOLL_PACKET 20
/* One that is counted while nobody looks. */
#define TOLL_COUNTED 1

#define HASH 1
#define ARRAY 2
#define ARRAY_BY_PROCESSOR 6
#define LRU_HASH 9
#define MAP(name, kind, key_type, value_type, entries) \
	struct { \
		int (*type)[kind]; \
		typeof(key_type) *key; \
		typeof(value_type) *value; \
		int (*max_entries)[entries]; \
	} name __attribute__((section(".maps"), used))

/* Sizes are limits on what can be told apart; what does not fit is counted as lost. */
MAP(followed, HASH, u32, struct follower, 4096);
/* Calls by process, number and files. */
MAP(calls, HASH, struct call_key, struct call_value, 131072);
/* Files that were mapped, and by which address those that were mapped last are. */
MAP(mapped, HASH, struct mapped_key, struct mapped, 16384);
MAP(areas, LRU_HASH, struct area_key, struct file_key, 16384);
/* Where files are that were used, as it was when they were used first; and room to find it out. */
MAP(paths, LRU_HASH, struct names_key, struct names, 4096);
MAP(room, ARRAY_BY_PROCESSOR, u32, struct names, 1);
/* TCP sockets alive, by their addresses. */
MAP(sockets, HASH, u64, struct known, 65536);
/* Their names, by inode; they outlive the sockets. */
MAP(names, HASH, u64, struct name, 65536);
/* Payload that left, by socket's inode. */
MAP(sent, HASH, struct page_key, u64, 131072);
/* Bytes copied to processes. */
MAP(received, HASH, struct page_key, u64, 131072);
/* Of processes that end, those that did last are kept. */
MAP(processes, LRU_HASH, u32, struct process, 4096);
/* One number: what found a map full. */
MAP(lost, ARRAY, u32, u64, 1);
/* One number: which look this is, from 1, or in its highest bit that it has ended. */
MAP(look, ARRAY, u32, u64, 1);
/* What left by the sockets of those who are followed, also while nobody looks. */
MAP(left, ARRAY, u32, struct left, 1);
/* Threads of theirs that end: by their addresses, their numbers. They still have sockets to close. */
MAP(ending, LRU_HASH, u64, u64, 1024);
/* What was paid for looking. */
MAP(tolls, ARRAY, u32, struct toll, PROCESSORS);

INLINE void add(u64 *to, u64 amount)
{
	__sync_fetch_and_add(to, amount);
}

INLINE void count_loss(void)
{
	u32 index = 0;
	u64 *count = map_look_up(&lost, &index);
	if (count)
		add(count, 1);
}

/* The value of a key, made of zeros if there was none. */
INLINE void *entry(void *map, const void *key)
{
	void *value = map_look_up(map, key);
	if (value)
		return value;
	map_update(map, key, zeros, NEW);
	value = map_look_up(map, key);
	if (!value)
		count_loss();
	return value;
}

/* Counts what this look at an event costs, so that its reader can look less often. */
INLINE void pay(u64 tolls_due)
{
	u32 index = this_processor() % PROCESSORS;
	struct toll *toll = map_look_up(&tolls, &index);
	/* Its own processor's: only what interrupts this adds to it, too. */
	if (toll)
		toll->paid += tolls_due;
}

INLINE u32 this_look(void)
{
	u32 index = 0;
	u64 *number = map_look_up(&look, &index);
	return number ? *number : 0;
}

INLINE int is_looking(void)
{
	u32 index = 0;
	s64 *number = map_look_up(&look, &index);
	return number && *number > 0;
}

/* A zero that the verifier takes for any number, so that what it has proved for one packet holds
 * for the next: with zeros that it knows, it goes through each row of fragments anew. */
INLINE u64 nothing(void)
{
	return READ_AT((u64 *)NULL);
}

/* PID namespaces: each task has a number in its namespace and in every one above it. BPF sees those
 * of the first, /proc those of its own. 0 for a task that has no number in ours. */
INLINE u32 number_in_namespace(struct task_struct *task)
{
	struct pid *pid = READ(READ(task, group_leader), thread_pid);
	u32 level = READ(pid, level);
	for (int at = 0; at <= 32; at++) {
		struct upid *number = (void *)&pid->numbers + level * TYPE_SIZE(struct upid);
		if (READ(READ(number, ns), ns.inum) == settings.namespace)
			return READ(number, nr);
		if (!level--)
			break;
	}
	return 0;
}

INLINE u32 process_of(struct task_struct *task)
{
	return settings.namespace ? number_in_namespace(task) : READ(task, tgid);
}

INLINE u32 this_process(void)
{
	return settings.namespace ? number_in_namespace(this_task()) : this_pid_tgid() >> 32;
}

/* Sockets: learned when a followed process uses one, forgotten with it. The kernel gives the
 * memory of a socket that was destroyed to the next one; bytes of a stranger's would be charged to
 * the socket that had the address before. */

#define AF_INET 2
#define AF_INET6 10

static __attribute__((noinline)) void name_socket(struct sock *sk, u64 inode, u32 process)
{
	struct name name = { .process = process };
	struct net *net = READ(sk, __sk_common.skc_net.net);
	/* Two networks have interfaces of the same index. */
	if (net)
		name.network = READ(net, ns.inum);
	name.family = READ(sk, __sk_common.skc_family);
	name.local_port = READ(sk, __sk_common.skc_num);
	name.peer_port = READ(sk, __sk_common.skc_dport);
	if (name.family == AF_INET6) {
		read_kernel(name.peer, 16, &sk->__sk_common.skc_v6_daddr);
		read_kernel(name.local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	} else {
		read_kernel(name.peer, 4, &sk->__sk_common.skc_daddr);
		read_kernel(name.local, 4, &sk->__sk_common.skc_rcv_saddr);
	}
	map_update(&names, &inode, &name, NEW);
	struct name *there = map_look_up(&names, &inode);
	if (!there)
		count_loss();
	else if (process && !there->process)
		there->process = process;
}

/* A protocol may be put above TCP at any time. */
INLINE void note_upper_layer(struct known *known, struct sock *sk, u64 inode)
{
	if (known->has_upper)
		return;
	struct tcp_ulp_ops *upper = READ((struct inet_connection_sock *)sk, icsk_ulp_ops);
	if (!upper)
		return;
	known->has_upper = 1;
	struct name *name = map_look_up(&names, &inode);
	if (name)
		read_kernel(name->upper, 16, &upper->name);
}

INLINE void add_left(struct left *more)
{
	u32 index = 0;
	struct left *sum = map_look_up(&left, &index);
	if (!sum)
		return;
	add(&sum->of_files, more->of_files);
	add(&sum->others, more->others);
}

/* A socket is a followed process's from now on, and what left by it before is, too. */
INLINE void claim(struct known *known, u32 process)
{
	if (!process || __sync_val_compare_and_swap(&known->process, 0, process))
		return;
	struct name *name = map_look_up(&names, &known->inode);
	if (name && !name->process)
		name->process = process;
	add_left(&known->left);
}

#define EEXIST 17

/* Makes a socket one that is counted, if it is of TCP; answers with what is known of it. */
INLINE struct known *learn_socket(struct sock *sk, u64 inode, u32 process)
{
	u64 address = (u64)sk;
	struct known *known = map_look_up(&sockets, &address);
	/* The end of the one that was here before may not have been seen. */
	if (!known || known->inode != inode) {
		u16 family = READ(sk, __sk_common.skc_family);
		if (READ(sk, sk_protocol) != 6 /* IPPROTO_TCP */ ||
		    (family != AF_INET && family != AF_INET6))
			return NULL;
		struct known value = { .inode = inode };
		/* Not in place of one that another processor has just made and counts in. */
		long failure = map_update(&sockets, &address, &value, known ? ANY : NEW);
		if (failure && failure != -EEXIST)
			count_loss();
		known = map_look_up(&sockets, &address);
		if (!known)
			return NULL;
	}
	claim(known, process);
	return known;
}

/* Names a socket the first time that a look meets it. */
INLINE void name_once(struct known *known, struct sock *sk, u32 process)
{
	if (!known->is_named)
		name_socket(sk, known->inode, process ? process : known->process);
	known->is_named = 1;
	note_upper_layer(known, sk, known->inode);
}

/* Who closes a socket that no look has met also tells whose it is: close(2) and shutdown(2) hold it.
 * What its peer leads to happens in anybody's time. */
INLINE void claim_for_closer(struct sock *sk, struct known *known)
{
	if (!known || known->process || !READ(sk, sk_lock.owned))
		return;
	u32 process = this_process();
	u64 task = (u64)this_task();
	u64 *number = map_look_up(&ending, &task);
	if (map_look_up(&followed, &process) || (number && *number == this_pid_tgid()))
		claim(known, process);
}

/* Of a stranger's nothing is kept. One that its peer has reset is closed without a change of its
 * state. */
PROGRAM(tcp_destroy_sock)
{
	u64 address = ctx[0];
	struct known *known = map_look_up(&sockets, &address);
	u64 inode = known ? known->inode : 0;
	claim_for_closer((struct sock *)address, known);
	struct name *name = map_look_up(&names, &inode);
	if (name && !name->process)
		map_delete(&names, &inode);
	map_delete(&sockets, &address);
	return 0;
}

#define FIN_WAIT1 4
#define CLOSE 7
#define LAST_ACK 9

PROGRAM(inet_sock_set_state)
{
	u64 address = ctx[0];
	u32 state = ctx[2];
	if (state != FIN_WAIT1 && state != LAST_ACK && state != CLOSE)
		return 0;
	claim_for_closer((struct sock *)address, map_look_up(&sockets, &address));
	return 0;
}

/* Where the page of a fragment comes from. A page of a file has a mapping that leads to its inode;
 * one of a process has a mapping whose lowest bit is set; one that the kernel allocated for itself
 * has none. A page within a larger folio tells of it only by its head.
 *
 * Source: linux/page-flags.h (compound_head, PAGE_MAPPING_FLAGS); linux/skbuff.h. */

INLINE u64 mapping_of(u64 netmem)
{
	/* The lowest bit of a netmem_ref says that it is not a page. */
	struct page *page = (void *)(netmem & ~1ull);
	if (!page)
		return 0;
	u64 head = READ(page, compound_head);
	if (head & 1)
		page = (void *)(head - 1);
	return (u64)READ(page, mapping);
}

INLINE void classify(struct page_key *key, u64 mapping)
{
	u64 none = nothing();
	key->origin = KERNEL;
	key->device = none;
	key->inode = none;
	if (!mapping)
		return;
	if (mapping & 3) {
		/* PAGE_MAPPING_ANON; the other tag is of pages that can be moved. */
		if (mapping & 1)
			key->origin = ANONYMOUS;
		return;
	}
	struct inode *inode = READ((struct address_space *)mapping, host);
	if (!inode)
		return;
	key->origin = PAGE_CACHE;
	key->inode = READ(inode, i_ino);
	key->device = READ(READ(inode, i_sb), s_dev);
}

/* Of skb_shared_info.flags: SKBFL_ZEROCOPY_ENABLE and SKBFL_SHARED_FRAG. */
INLINE u32 lent_by(u8 flags)
{
	return flags & 1 ? ZERO_COPY : flags & 2 ? SHARED : NOT_LENT;
}

/* What is behind the linear part of a socket buffer. */
INLINE struct skb_shared_info *shared_part(struct sk_buff *skb)
{
	u8 *head = READ(skb, head);
	return head ? (void *)(head + READ(skb, end)) : NULL;
}

INLINE void *fragment(struct skb_shared_info *shared, u32 index)
{
	struct skb_shared_info *none = NULL;
	return (void *)&shared->frags + index * ((u64)&none->frags[1] - (u64)&none->frags[0]);
}

INLINE u64 fragment_page(void *fragment)
{
	if (FIELD_EXISTS(struct skb_frag, netmem))
		return READ((struct skb_frag *)fragment, netmem);
	if (TYPE_EXISTS(struct skb_frag))
		return (u64)READ((struct skb_frag___page *)fragment, bv_page);
	return (u64)READ((struct bio_vec *)fragment, bv_page);
}

INLINE u32 fragment_len(void *fragment)
{
	if (TYPE_EXISTS(struct skb_frag))
		return READ((struct skb_frag *)fragment, len);
	return READ((struct bio_vec *)fragment, bv_len);
}

/* Every packet of a watched socket as it reaches its first device: where its payload is.
 *
 * By socket and not by process: a good part of the packets leaves in the context of the process
 * that receives an acknowledgement. The sequence number tells what left before: such bytes are
 * counted apart, so that each byte of the stream is counted once. Behind a bridge, or a device
 * upon a device, the same packet comes by again: what is old and leaves by another device than the
 * newest did is that, and is not counted at all.
 *
 * Source: RFC 9293 §3.1; linux/skbuff.h. */

/* More than may be under way (RFC 7323 §2.3). */
#define WINDOW (1 << 30)

/* MAX_SKB_FRAGS as kernels are usually configured; what is in further ones is counted as lost. */
#define FRAGMENTS 17

static __attribute__((noinline)) int count_pages(struct page_key *key, u64 amount)
{
	u64 *bytes = entry(&sent, key);
	if (bytes)
		add(bytes, amount);
	return 0;
}

/* One that is not known sends for the first time, whose it may be: the context is not always its
 * owner's, so the reader keeps those that a followed process's calls name. */
INLINE struct known *known_socket(struct sock *sk)
{
	u64 address = (u64)sk;
	struct known *known = map_look_up(&sockets, &address);
	struct socket *socket = READ(sk, sk_socket);
	u64 inode = socket ? READ((struct socket_alloc *)socket, vfs_inode.i_ino) : 0;
	if (known && (!socket || inode == known->inode))
		return known;
	if (!socket)
		return NULL;
	return learn_socket(sk, inode, 0);
}

/* Takes what is skipped off a number of bytes. */
INLINE s64 unskipped(s64 bytes, s64 *skip)
{
	if (bytes <= *skip) {
		*skip -= bytes;
		return 0;
	}
	bytes -= *skip;
	*skip = nothing();
	return bytes;
}

/* Pages of files have a mapping without a tag. */
INLINE u64 is_of_file(struct skb_shared_info *shared, u32 index)
{
	u64 mapping = mapping_of(fragment_page(fragment(shared, index)));
	return mapping && !(mapping & 3);
}

/* Of so many bytes that leave for the first time, those that lie in lent pages of files, as three
 * fragments tell: heads that were copied are one fragment before the pages, or behind. */
INLINE s64 bytes_of_files(struct sk_buff *skb, struct skb_shared_info *shared, s64 bytes)
{
	u32 count = READ(shared, nr_frags);
	if (!count || lent_by(READ(shared, flags)) == NOT_LENT)
		return 0;
	s64 paged = READ(skb, data_len);
	u64 first = is_of_file(shared, 0), last = is_of_file(shared, count - 1);
	if (!first && !last && (count < 3 || !is_of_file(shared, count / 2)))
		return 0;
	if (!first)
		paged -= fragment_len(fragment(shared, 0));
	if (!last)
		paged -= fragment_len(fragment(shared, count - 1));
	return paged < bytes ? paged : bytes;
}

INLINE void count_left(struct known *known, s64 of_files, s64 others)
{
	struct left more = { of_files, others };
	u32 process = known->process;
	add(&known->left.of_files, of_files);
	add(&known->left.others, others);
	if (process)
		add_left(&more);
}

/* Whether the outermost header is TCP's: of what left through a tunnel it may be another's. */
INLINE int is_tcp(struct sk_buff *skb, u8 *head)
{
	u8 *ip = head + READ(skb, network_header);
	return READ_AT(ip + (READ_AT(ip) >> 4 == 4 ? 9 : 6)) == 6 /* IPPROTO_TCP */;
}

PROGRAM(net_dev_start_xmit)
{
	struct sk_buff *skb = (void *)ctx[0];
	struct net_device *device = (void *)ctx[1];
	struct sock *sk = READ(skb, sk);
	if (!sk)
		return 0;
	u8 *head = READ(skb, head);
	if (!head)
		return 0;
	struct tcp_head *tcp = (void *)(head + READ(skb, transport_header));
	u32 peer_port = READ(sk, __sk_common.skc_dport);
	u32 ports = __builtin_bswap16(READ(sk, __sk_common.skc_num)) | peer_port << 16;
	/* Ports may have been translated. */
	if (READ(tcp, ports) != ports && !is_tcp(skb, head))
		return 0;
	u8 *body = (u8 *)tcp + (READ(tcp, length) >> 4) * 4;
	s64 payload = READ(skb, len) - (body - READ(skb, data));
	if (payload < 1)
		return 0;
	s64 linear = payload - READ(skb, data_len);
	if (linear < 0)
		linear = nothing();
	int looking = is_looking();
	pay(looking ? TOLL_PACKET : TOLL_COUNTED);
	struct known *known = known_socket(sk);
	if (!known)
		return 0;
	struct page_key key = { .owner = known->inode, .interface = READ(device, ifindex) };
	struct skb_shared_info *shared = (void *)(head + READ(skb, end));

	u32 sequence = __builtin_bswap32(READ(tcp, sequence));
	s32 back = known->is_begun ? known->next - sequence : 0;
	/* Packets may go unseen: what is back by more than a window is ahead. */
	if (back > WINDOW)
		back = 0;
	s64 skip = nothing();
	if (back > 0) {
		skip = back < payload ? back : payload;
		if (skip == payload && (u64)device != known->device)
			return 0;
		key.lent = AGAIN;
		if (looking)
			count_pages(&key, skip);
	}
	if (back <= 0 || skip < payload) {
		known->next = sequence + payload;
		known->device = (u64)device;
		known->is_begun = 1;
	}
	s64 fresh = payload - skip;
	if (!looking) {
		s64 of_files = bytes_of_files(skb, shared, fresh);
		count_left(known, of_files, fresh - of_files);
		return 0;
	}
	name_once(known, sk, 0);
	s64 of_files = nothing();

	s64 amount = unskipped(linear, &skip);
	key.lent = NOT_LENT;
	if (amount)
		count_pages(&key, amount);

	/* Fragments in a row with the same mapping are counted as one. */
	u32 count = READ(shared, nr_frags);
	u64 row_mapping = -1;
	key.lent = lent_by(READ(shared, flags));
	amount = nothing();
	for (u32 at = 0; at < FRAGMENTS && at != count; at++) {
		void *this = fragment(shared, at);
		s64 taken = unskipped(fragment_len(this), &skip);
		if (!taken)
			continue;
		u64 mapping = mapping_of(fragment_page(this));
		if (mapping != row_mapping) {
			if (amount)
				count_pages(&key, amount);
			amount = nothing();
			row_mapping = mapping;
			classify(&key, mapping);
		}
		amount += taken;
		if (key.origin == PAGE_CACHE && key.lent != NOT_LENT)
			of_files += taken;
	}
	if (count > FRAGMENTS)
		count_loss();
	if (amount)
		count_pages(&key, amount);
	count_left(known, of_files, fresh - of_files);
	return 0;
}

/* What is copied out of socket buffers to a followed process, and where it was. The tracepoint
 * tells how much of a buffer was taken and not from where in it: a buffer with several fragments is
 * named after its first. A receiver that discards (MSG_TRUNC) copies nothing and is not seen here.
 * It tells of TCP, UDP and Unix sockets. */
PROGRAM(skb_copy_datagram_iovec)
{
	u32 process = this_process();
	if (!map_look_up(&followed, &process))
		return 0;
	struct sk_buff *skb = (void *)ctx[0];
	struct page_key key = { .owner = process };
	struct skb_shared_info *shared = shared_part(skb);
	if (!shared)
		return 0;
	if (READ(shared, nr_frags)) {
		key.lent = lent_by(READ(shared, flags));
		classify(&key, mapping_of(fragment_page(fragment(shared, 0))));
	}
	u64 *bytes = entry(&received, &key);
	if (bytes)
		add(bytes, (u32)ctx[1]);
	return 0;
}

/* Every system call of a followed process as it returns: which, between which files, how much.
 *
 * At the exit, not at the entry: one tracepoint instead of two, and the arguments are still
 * in the saved registers. A descriptor that another thread closed meanwhile is not found.
 *
 * Source: syscall(2), x86-64 calling convention. */

#define MSG_ZEROCOPY 0x4000000
#define O_DIRECT 040000
#define KIND_MASK 0170000
#define KIND_SOCKET 0140000
#define KIND_REGULAR 0100000
#define KIND_PIPE 0010000
/* Of super_block.s_flags: the kernel's own file systems, such as that of shared memory. */
#define SB_KERNMOUNT (1 << 22)

INLINE u64 argument(struct pt_regs *regs, u64 returned, u8 which)
{
	return which == 1 ? READ(regs, di) : which == 2 ? READ(regs, si) :
	       which == 3 ? READ(regs, dx) : which == 4 ? READ(regs, r10) :
	       which == 5 ? READ(regs, r8) : returned;
}

#define OVERLAYFS 0x794c7630

/* The inode of a file: on overlayfs that of the file beneath, which owns the pages. It is the file's
 * private data, or since Linux 6.13 the first member of that: a file's inode is known by its
 * mapping, which leads back to it. */
INLINE struct inode *inode_of(struct file *file)
{
	struct inode *own = READ(file, f_inode);
	if (!own || READ(READ(own, i_sb), s_magic) != OVERLAYFS)
		return own;
	struct file *beneath = READ(file, private_data);
	for (int at = 0; at < 2; at++) {
		struct inode *inode = READ(beneath, f_inode);
		if (inode && READ(READ(inode, i_mapping), host) == inode)
			return inode;
		beneath = READ_AT((struct file **)beneath);
	}
	return own;
}

INLINE void identify(struct inode *inode, struct file_key *to)
{
	to->mode = READ(inode, i_mode);
	to->inode = READ(inode, i_ino);
	to->device = READ(READ(inode, i_sb), s_dev);
}

INLINE struct file *file_of(u32 fd)
{
	struct fdtable *table = READ(READ(this_task(), files), fdt);
	struct file **files = READ(table, fd);
	return files && fd < READ(table, max_fds) ? READ_AT(files + fd) : NULL;
}

/* Notes where a file is. A name that is too long, or too deep, is not noted, rather than in part. */
static __attribute__((noinline)) int note_path(struct file *file)
{
	struct file_key id = {};
	u32 index = 0;
	struct names *names = map_look_up(&room, &index);
	struct inode *inode = file ? inode_of(file) : NULL;
	if (!names || !inode)
		return 0;
	identify(inode, &id);
	struct names_key key = { id.device, id.inode };
	if ((id.mode & KIND_MASK) != KIND_REGULAR || map_look_up(&paths, &key))
		return 0;
	struct dentry *dentry = READ(file, f_path.dentry);
	names->device = READ(READ(dentry, d_sb), s_dev);
	for (u32 at = 0; at < PARTS; at++) {
		struct dentry *parent = READ(dentry, d_parent);
		if (parent == dentry) {
			names->count = at;
			map_update(&paths, &key, names, ANY);
			return 0;
		}
		long len = read_text(names->part[at], PART_LEN, READ(dentry, d_name.name));
		if (len < 2 || len == PART_LEN)
			return 0;
		dentry = parent;
	}
	return 0;
}

static long note_path_of_area(struct task_struct *task, struct vm_area_struct *area, void *context)
{
	return note_path(READ(area, vm_file));
}

/* In the flags of a file that is a TCP socket. */
#define IS_TCP 0x80000000

/* The file of a descriptor; learns it if it is a socket. Answers with the flags of the file. */
static __attribute__((noinline)) u32 resolve(u32 fd, struct file_key *to, u32 process)
{
	struct file *file = file_of(fd);
	struct inode *inode = file ? inode_of(file) : NULL;
	if (!inode)
		return 0;
	identify(inode, to);
	if ((to->mode & KIND_MASK) == KIND_SOCKET) {
		struct socket *socket = READ(file, private_data);
		struct sock *sk = socket ? READ(socket, sk) : NULL;
		struct known *known = sk ? learn_socket(sk, to->inode, process) : NULL;
		if (known) {
			name_once(known, sk, process);
			return IS_TCP;
		}
	}
	return READ(file, f_flags);
}

struct memory {
	struct file_key file;
	/* The area that it is in. */
	u64 start, end;
};

/* A mapping of a file is told by its file; not one of the program itself, whose constants and
 * variables are its own, and not one of shared memory. */
static long name_area(struct task_struct *task, struct vm_area_struct *area, void *context)
{
	struct memory *memory = context;
	struct file_key *to = &memory->file;
	to->mode = OWN;
	memory->start = READ(area, vm_start);
	memory->end = READ(area, vm_end);
	struct file *file = READ(area, vm_file);
	if (!file)
		return 0;
	struct inode *inode = READ(file, f_inode);
	if (inode == inode_of(READ(READ(area, vm_mm), exe_file)) || READ(READ(inode, i_sb), s_flags) & SB_KERNMOUNT)
		return 0;
	identify(inode, to);
	return 0;
}

/* What the memory at an address is. While another thread maps something, the kernel does not wait
 * to tell (EBUSY): then it is what was mapped there last, if that was seen. */
static __attribute__((noinline)) int find_memory(u64 at, u32 process, struct memory *memory)
{
	*memory = (struct memory){ .file.mode = NOT_SEEN };
	if (find_area(this_task_typed(), at, name_area, memory, 0) != -16)
		return 0;
	struct area_key key = { .process = process, .look = this_look(), .start = at };
	struct file_key *area = map_look_up(&areas, &key);
	if (area)
		memory->file = *area;
	return 0;
}

/* A call that returned: less than zero if it failed. Answers whether it is the first of its row. */
static __attribute__((noinline)) int count_call(struct call_key *key, s64 returned, u64 calls_made,
						u64 given_at)
{
	struct call_value *value = entry(&calls, key);
	if (!value)
		return 0;
	int is_new = !value->calls && !value->bytes;
	add(&value->calls, calls_made);
	if (returned < 0)
		add(&value->failures, calls_made);
	else
		add(&value->bytes, returned);
	if (given_at)
		read_user(value->head, sizeof(value->head), (void *)given_at);
	return is_new;
}

struct element { u64 at, len; };
/* As many as a vector may have (UIO_MAXIOV). */
#define ELEMENTS 1024

/* A call that gave memory, as far as it has been looked at. */
struct giving {
	struct call_key *key;
	u64 vector, count, left;
	/* The elements so far that are of the memory in the key, and where they begin. */
	u64 row, row_at;
	u64 calls_made;
	/* What the last element was in: the next one may be, too. */
	struct memory memory;
};

INLINE void count_row(struct giving *giving)
{
	if (!giving->row)
		return;
	/* Not from within count_call: frames one within the other have 512 bytes in all. */
	if (count_call(giving->key, giving->row, giving->calls_made, giving->row_at) &&
	    (giving->key->memory.mode & KIND_MASK) == KIND_REGULAR)
		find_area(this_task_typed(), giving->row_at, note_path_of_area, giving->key, 0);
	giving->calls_made = 0;
	giving->row = 0;
}

INLINE void give(struct giving *giving, struct element *element)
{
	u64 bytes = element->len < giving->left ? element->len : giving->left;
	if (!bytes)
		return;
	giving->left -= bytes;
	struct memory *memory = &giving->memory;
	struct file_key *file = &memory->file, *last = &giving->key->memory;
	if (element->at < memory->start || element->at >= memory->end)
		find_memory(element->at, giving->key->process, memory);
	if (file->inode != last->inode || file->mode != last->mode || file->device != last->device)
		count_row(giving);
	if (!giving->row) {
		*last = *file;
		giving->row_at = element->at;
	}
	giving->row += bytes;
}

static long give_element(u32 index, void *context)
{
	struct giving *giving = context;
	struct element element;
	if (index >= giving->count || !giving->left)
		return 1;
	read_user(&element, sizeof(element), (void *)(giving->vector + index * sizeof(element)));
	give(giving, &element);
	return 0;
}

/* Counts what a call gave from memory, by what the memory is: a head that is made up is told from
 * the mapping behind it. Elements in a row of the same memory are counted as one. */
static __attribute__((noinline)) int count_given(struct pt_regs *regs, u8 buffer,
						 struct call_key *key, u64 returned)
{
	struct element element = { .at = READ(regs, si), .len = returned };
	/* Until 6.6 the verifier looks at a loop as if it were gone through once, and takes out what
	 * cannot be reached from where it begins: so it must know nothing of that. */
	u64 none = nothing();
	struct giving giving = { .key = key, .row = none, .row_at = none };
	giving.left = returned + none;
	giving.calls_made = none + 1;
	giving.memory = (struct memory){ { none, none, none }, none, none };
	key->memory = (struct file_key){ none, none, none };
	giving.vector = element.at;
	giving.count = READ(regs, dx);
	if (buffer == MESSAGE) {
		/* msg_iov and msg_iovlen of struct user_msghdr (linux/socket.h). */
		read_user(&element, sizeof(element), (void *)(giving.vector + 16));
		giving.vector = element.at;
		giving.count = element.len;
	}
	if (buffer == PLAIN)
		give(&giving, &element);
	else
		/* A look at the first is in TOLL_FOLLOWED. */
		pay(loop(ELEMENTS, give_element, &giving, 0));
	count_row(&giving);
	if (giving.left) {
		key->memory = (struct file_key){ .mode = NOT_SEEN };
		count_call(key, giving.left, giving.calls_made, 0);
	}
	return 0;
}

#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_SHARED 1
#define MAP_ANONYMOUS 0x20

/* A mmap(2) that returned: a file that may be executed is a program or a library. */
INLINE void note_mapping(struct pt_regs *regs, u32 process, u64 returned)
{
	if (returned > -4096ull)
		return;
	struct area_key area = { .process = process, .look = this_look(), .start = returned };
	struct mapped_key key = {};
	if (!(READ(regs, r10) & MAP_ANONYMOUS))
		resolve(READ(regs, r8), &key.file, process);
	if ((key.file.mode & KIND_MASK) != KIND_REGULAR) {
		map_delete(&areas, &area);
		return;
	}
	map_update(&areas, &area, &key.file, ANY);
	struct mapped *value = map_look_up(&mapped, &key);
	u64 protection = READ(regs, dx);
	if (!value) {
		key.process = protection & PROT_EXEC ? 0 : process;
		value = entry(&mapped, &key);
	}
	if (!value)
		return;
	if (!value->bytes)
		note_path(file_of(READ(regs, r8)));
	add(&value->bytes, READ(regs, si));
	value->is_program = !key.process;
	if (protection & PROT_WRITE && READ(regs, r10) & MAP_SHARED)
		value->is_written = 1;
}

/* The loader reads the head of each library that it maps. */
#define HEAD_MAX 1024

INLINE int is_program(struct file_key *file)
{
	struct mapped_key key = { .file = *file };
	return map_look_up(&mapped, &key) != NULL;
}

/* What a process reads before it sends anything is its configuration, its libraries, its code; but
 * for the file or the pipe that it read last, which may be what it sends now. */
INLINE void note_reading(struct follower *follower, struct call_key *key, u64 bytes)
{
	struct call_key *last = &follower->reading;
	if (last->number != key->number || last->flags != key->flags ||
	    last->source.inode != key->source.inode || last->source.device != key->source.device) {
		*last = *key;
		follower->bytes = 0;
	}
	follower->bytes += bytes;
}

static __attribute__((noinline)) int begin_sending(struct follower *follower)
{
	struct call_key key = follower->reading;
	u64 bytes = follower->bytes;
	/* Two threads may be here at once. */
	if (__sync_lock_test_and_set(&follower->has_sent, 1))
		return 0;
	struct call_value *before = map_look_up(&calls, &key);
	if (!before)
		return 0;
	if (bytes > before->bytes)
		bytes = before->bytes;
	add(&before->bytes, -bytes);
	key.flags &= ~BEFORE_SENDING;
	struct call_value *value = entry(&calls, &key);
	if (value)
		add(&value->bytes, bytes);
	return 0;
}

PROGRAM(sys_exit)
{
	struct pt_regs *regs = (void *)ctx[0];
	/* What it returned, and how many bytes that is. */
	s64 returned = ctx[1], moved = returned;
	pay(1);
	struct call_key key = { .process = this_process() };
	struct follower *follower = map_look_up(&followed, &key.process);
	if (!follower)
		return 0;
	pay(TOLL_FOLLOWED);
	/* TS_COMPAT: numbers and arguments are others. */
	if (READ(this_task(), thread_info.status) & 2) {
		struct process *process = entry(&processes, &key.process);
		if (process)
			process->is_32_bit = 1;
		return 0;
	}
	key.number = READ(regs, orig_ax);
	if (key.number >= NUMBERS) {
		count_call(&key, returned < 0 ? returned : 0, 1, 0);
		return 0;
	}
	const volatile struct shape *shape = &shapes[key.number];
	u32 source = 0, target = 0;
	if (shape->source)
		source = resolve(argument(regs, returned, shape->source), &key.source, key.process);
	if (shape->target)
		target = resolve(argument(regs, returned, shape->target), &key.target, key.process);
	if ((source | target) & O_DIRECT)
		key.flags |= IS_DIRECT;
	if (shape->flags && argument(regs, returned, shape->flags) & MSG_ZEROCOPY)
		key.flags |= IS_ZERO_COPY;
	if (shape->kind == MAPPING)
		note_mapping(regs, key.process, returned);
	if (shape->kind == UNMAPPING) {
		struct area_key area = { key.process, this_look(), READ(regs, di) };
		map_delete(&areas, &area);
	}
	/* A preadv2(2) that took 1 or 32 moves nothing: with RWF_NOWAIT, one byte asks whether a page
	 * is cached, and 32 are kept to compare a file with later. */
	int is_probe = shape->kind == PROBING && (returned == 1 || returned == 32);
	if (!follower->has_sent) {
		u32 kind = key.source.mode & KIND_MASK;
		if ((target & IS_TCP || shape->kind == SUBMITTING) && returned > 0)
			begin_sending(follower);
		else
			key.flags |= BEFORE_SENDING;
		int is_reading = !shape->target && shape->is_counted && returned > 0 && !is_probe;
		if (is_reading && kind == KIND_REGULAR && returned <= HEAD_MAX && is_program(&key.source))
			return 0;
		if (is_reading && (kind == KIND_REGULAR || kind == KIND_PIPE))
			note_reading(follower, &key, returned);
	}
	if (returned > 0 && (!shape->is_counted || is_probe))
		moved = 0;
	u8 buffer = shape->buffer;
	if (buffer != NO_BUFFER && moved > 0)
		count_given(regs, buffer, &key, moved);
	else if (count_call(&key, moved, 1, 0)) {
		if (shape->source)
			note_path(file_of(argument(regs, returned, shape->source)));
		if (shape->target)
			note_path(file_of(argument(regs, returned, shape->target)));
	}
	return 0;
}

/* The followed processes: who is born to them, when they end, their faults. */

PROGRAM(sched_process_fork)
{
	u32 parent = process_of((void *)ctx[0]);
	if (!map_look_up(&followed, &parent))
		return 0;
	u32 child = process_of((void *)ctx[1]);
	/* Another thread of the same process has its number. */
	if (!child || child == parent)
		return 0;
	struct follower none = {};
	if (map_update(&followed, &child, &none, ANY))
		count_loss();
	else {
		struct process *of_parent = map_look_up(&processes, &parent);
		struct process *of_child = entry(&processes, &child);
		if (of_parent && of_child)
			__builtin_memcpy(of_child->program, of_parent->program, PROGRAM_LEN);
	}
	return 0;
}

/* Another program, with the descriptors and the number of the one before. */
PROGRAM(sched_process_exec)
{
	u32 process = process_of((void *)ctx[0]);
	if (!map_look_up(&followed, &process))
		return 0;
	struct process *value = entry(&processes, &process);
	struct file *file = READ((struct linux_binprm *)ctx[2], file);
	if (value && file)
		read_text(value->program, PROGRAM_LEN, READ(READ(file, f_path.dentry), d_name.name));
	return 0;
}

/* Its number may be given to another. */
PROGRAM(sched_process_exit)
{
	struct task_struct *task = (void *)ctx[0];
	u32 process = process_of(task);
	if (!map_look_up(&followed, &process))
		return 0;
	u64 address = (u64)task, number = this_pid_tgid();
	map_update(&ending, &address, &number, ANY);
	struct signal_struct *signal = READ(task, signal);
	if (signal && !READ(signal, live.counter))
		map_delete(&followed, &process);
	return 0;
}

PROGRAM(page_fault_user)
{
	u32 process = this_process();
	if (!map_look_up(&followed, &process))
		return 0;
	struct process *value = entry(&processes, &process);
	if (value)
		add(&value->user_faults, 1);
	return 0;
}
