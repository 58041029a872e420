/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image: another process's address space as it stood at one moment, with its
 * mappings, its modules and its threads' registers.
 *
 *   live    every thread of the process is stopped (PTRACE_SEIZE, INTERRUPT) until
 *           image_resume() or image_free()
 *   clone   the process was stopped just long enough to inject a raw clone(); the
 *           frozen copy-on-write child is what is read, the process runs on.  The
 *           child is killed and reaped by image_free()
 *   core    an ELF core file
 *   fake    a test's own bytes (image_fake.h)
 *
 * Whatever happens to seep, a stopped process goes on: a small guardian process of
 * its own session does the tracing and undoes everything when seep is gone.
 *
 * Nothing here is trusted: maps, notes and ELF headers come from the target.  Reads
 * may come from several threads at once.
 */
#ifndef SEEP_PROC_IMAGE_H
#define SEEP_PROC_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct seep_error;

enum image_kind { IMAGE_LIVE, IMAGE_CLONE, IMAGE_CORE, IMAGE_FAKE };

/* image_map.flags */
#define IMAGE_READ 0x1u
#define IMAGE_WRITE 0x2u
#define IMAGE_EXEC 0x4u
#define IMAGE_SHARED 0x8u
#define IMAGE_ABSENT \
	0x10u /* its content is not here: not dumped in the core, or not inherited by the clone */
#define IMAGE_ASIDE \
	0x20u /* not inherited by the clone, and read in the process, which runs on: a moment later than the rest */

struct image_map {
	uint64_t start, end; /* page-aligned, end exclusive */
	uint64_t offset;     /* in the file */
	uint64_t dev, inode; /* 0: anonymous (or unknown: core) */
	uint32_t flags;      /* IMAGE_* */
	const char *path; /* "" anonymous; "[heap]", "[stack]", "[anon:name]" as the kernel says; never NULL */
};

/* An ELF file mapped into the process: the executable, libraries, ld.so, the vdso. */
struct image_module {
	const char *path;
	uint64_t start, end;                  /* from its lowest to its highest PT_LOAD */
	uint64_t bias;                        /* address - bias is the file's own vaddr */
	uint64_t tls_offset_vaddr, tls_memsz; /* PT_TLS: vaddr and size; 0: none */
	uint64_t eh_frame_hdr;                /* address of PT_GNU_EH_FRAME; 0: none */
	uint8_t build_id[20];
	uint8_t build_id_len; /* 0: none found */
};

struct image_thread {
	pid_t tid;
	uint64_t pc, sp, fp;
	uint64_t tls;          /* thread pointer: fs_base on x86-64 */
	const uint64_t *words; /* every register as words, general and vector: roots */
	size_t nwords;
	uint32_t ngeneral; /* the first so many words are general registers */
	char name[16];
	bool missed; /* it could not be stopped: no registers */
};

/* What is known of a page: bits. */
#define IMAGE_PAGE_PRESENT 0x1u /* counts as resident: the kernel's page of zeros does not */
#define IMAGE_PAGE_SWAPPED 0x2u
#define IMAGE_PAGE_FILE 0x4u /* a file's or shared memory's own page, not a private copy */
#define IMAGE_PAGE_HUGE 0x8u /* part of a transparent huge page, where the kernel tells (6.7) */

struct image_ops;

struct image {
	enum image_kind kind;
	pid_t pid;
	const char *exe, *command; /* "" unknown */
	struct image_map *maps;    /* ascending, not overlapping */
	size_t nmaps;
	struct image_module *modules; /* ascending by start */
	size_t nmodules;
	struct image_thread *threads; /* [0] is the main thread, when it is there */
	size_t nthreads;
	uint64_t at_random;  /* AT_RANDOM: address of 16 random bytes; 0 unknown */
	uint64_t at_base;    /* AT_BASE: where ld.so is; 0: static, or unknown */
	uint64_t at_phdr;    /* AT_PHDR */
	uint64_t page_size;  /* AT_PAGESZ, or 4096 */
	uint64_t stopped_ns; /* how long the process stood still (live: so far) */
	uint64_t stop_mono_ns,
		stop_real_ns;    /* CLOCK_MONOTONIC and CLOCK_REALTIME of the stop; 0: core */
	uint64_t resident_bytes; /* at the stop; 0 unknown */
	char **notes; /* what is missing and why, a sentence each: for the completeness line */
	size_t nnotes;

	const struct image_ops *ops;
	void *priv;
};

/*
 * What a kind of image provides.  read: copies up to len bytes from addr on, returns how many
 * could be read before the first unreadable byte.  resident: one byte for each page, 1 when reading
 * it costs no more than a copy and brings nothing back into memory (present; in a core: dumped), 2 swapped.
 * In a clone, pages of files that nobody has written to count as neither: a fork does not copy them.
 * peek: the bytes in place when they are mapped here anyway, or NULL.
 */
struct image_ops {
	size_t (*read)(const struct image *img, uint64_t addr, void *buf, size_t len);
	void (*resident)(const struct image *img, uint64_t start, uint64_t npages, uint8_t *ret);
	const void *(*peek)(const struct image *img, uint64_t addr, size_t len);
	/* image_skip(); NULL: nobody knows. */
	uint64_t (*skip)(const struct image *img, uint64_t start, uint64_t end);
	/* Of each page its IMAGE_PAGE_* bits; NULL: what `resident` says. */
	void (*pages)(const struct image *img, uint64_t start, uint64_t npages, uint8_t *ret);
	struct seep_error *(*resume)(struct image *img);
	void (*release)(struct image *img);
};

struct image_options {
	bool clone; /* a copy-on-write clone; where none can be had the process is stopped, with a note */
	bool calls;           /* live: discard_pages() will be asked for */
	uint64_t max_stop_ns; /* give up when the process would stand still for longer; 0: 30 s */
};

/*
 * Stops a process, or clones it.  Errors say which capability, Yama setting, tracer or kind of program
 * (32-bit, kernel thread, zombie) is in the way and what still works.
 */
struct seep_error *image_open_process(pid_t pid, const struct image_options *opts,
                                      struct image **ret_image);
/* A core file; exe (NULL: the one the core names) helps with what was not dumped, such as read-only segments. */
struct seep_error *image_open_core(const char *path, const char *exe, struct image **ret_image);

/*
 * Lets a stopped process go on before the image is freed; a clone or a core: nothing.  Reads fail afterwards
 * (live).  An error says that the process ran on before this: max_stop_ns had passed, or the guardian was
 * killed.  What was read up to here is then not of one moment, so call it before a result is believed.
 */
struct seep_error *image_resume(struct image *img);
void image_free(struct image *img);

static inline void image_freep(struct image **img)
{
	image_free(*img);
}
#define _cleanup_image_ __attribute__((cleanup(image_freep)))

/* ---- reading ---------------------------------------------------------------- */

static inline size_t image_read(const struct image *img, uint64_t addr, void *buf, size_t len)
{
	return img->ops->read(img, addr, buf, len);
}

static inline bool image_read_all(const struct image *img, uint64_t addr, void *buf, size_t len)
{
	return img->ops->read(img, addr, buf, len) == len;
}

static inline bool image_read_u64(const struct image *img, uint64_t addr, uint64_t *ret)
{
	uint64_t v;

	if (img->ops->read(img, addr, &v, sizeof(v)) != sizeof(v))
		return false;
	*ret = v;
	return true;
}

static inline const void *image_peek(const struct image *img, uint64_t addr, size_t len)
{
	return img->ops->peek ? img->ops->peek(img, addr, len) : NULL;
}

static inline void image_resident(const struct image *img, uint64_t start, uint64_t npages,
                                  uint8_t *ret)
{
	img->ops->resident(img, start, npages, ret);
}

/*
 * Where the first page in [start, end) is that may be present or swapped; `end` when there is none.  So a program's 8 TB of
 * reserved addresses need not be asked about page by page; where nobody knows (kernels before 6.7) it is `start`.
 */
uint64_t image_skip(const struct image *img, uint64_t start, uint64_t end);
/* IMAGE_PAGE_* of npages pages from start on. */
void image_pages(const struct image *img, uint64_t start, uint64_t npages, uint8_t *ret);

/* The mapping that holds addr, or NULL. */
const struct image_map *image_map_of(const struct image *img, uint64_t addr);
/* The first mapping that ends after addr; nmaps when there is none. */
size_t image_map_after(const struct image *img, uint64_t addr);
/* The module whose range holds addr, or NULL. */
const struct image_module *image_module_of(const struct image *img, uint64_t addr);

/* Adds to img->notes; for those who build images and those who find something missing in one. */
void image_note(struct image *img, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
