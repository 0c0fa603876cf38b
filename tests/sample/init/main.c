/* Where the image starts, and what processes are made of. */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/percpu.h>

struct mm_struct {
	struct {
		atomic_t mm_users;
		unsigned long start_code, end_code;
		struct rb_root mm_rb;
		struct {
			spinlock_t lock;
			struct list_head queue;
		} waiters;
	};
	unsigned long cpu_bitmap[];
};

enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_MAX };

struct task {
	volatile long state;
	void *stack;
	unsigned int flags;
	int prio:8, static_prio:8, normal_prio:8;
	unsigned in_execve:1;
	unsigned :0;
	unsigned sched_reset:1;
	struct task *parent;
	struct list_head children, sibling;
	struct mm_struct *mm;
	struct hlist_node pid_links[PIDTYPE_MAX];
	const char *const comm;
	struct file *restrict *files;
};

const char linux_banner[] __used =
	"Linux version " UTS_RELEASE " (sample) (gcc) #1 SMP PREEMPT_DYNAMIC\n";

static struct task init_task = { .comm = "swapper" };
struct list_head modules_list;

static noinline int switch_to(struct task *prev, struct task *next)
{
	next->parent = prev;
	cpu_stat.current = next;
	return next->prio;
}

int schedule(void)
{
	return switch_to(&init_task, init_task.parent);
}

void start_kernel(void)
{
	INIT_LIST_HEAD(&modules_list);
	INIT_LIST_HEAD(&init_task.children);
	while (!schedule())
		cpu_number++;
}
