/* Lists out of line. */
#include <linux/types.h>

void list_add(struct list_head *entry, struct list_head *head)
{
	head->next->prev = entry;
	entry->next = head->next;
	entry->prev = head;
	head->next = entry;
}

void list_del(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
	entry->next = entry->prev = NULL;
}

bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

void hlist_add_head(struct hlist_node *n, struct hlist_head *h)
{
	n->next = h->first;
	n->pprev = &h->first;
	h->first = n;
}
