/* Network devices. */
#ifndef SAMPLE_NETDEVICE_H
#define SAMPLE_NETDEVICE_H

#include <linux/types.h>

struct net_device;

typedef enum netdev_tx {
	__NETDEV_TX_MIN = -1,
	NETDEV_TX_OK = 0x00,
	NETDEV_TX_BUSY = 0x10,
} netdev_tx_t;

enum netdev_features {
	NETIF_F_SG = 1ULL << 0,
	NETIF_F_TSO = 1ULL << 17,
	NETIF_F_HW_FAR = 1ULL << 47,
};

struct sk_buff {
	union {
		struct {
			struct sk_buff *next;
			struct sk_buff *prev;
			struct net_device *dev;
		};
		struct rb_node rbnode;
		struct list_head list;
	};
	unsigned int len, data_len;
	u16 mac_len;
	u8 cloned:1, nohdr:1, fclone:2, peeked:1, head_frag:1, pfmemalloc:1;
	__be16 protocol;
	u32 priority;
	refcount_t users;
	unsigned char *head, *data;
	char cb[48] __aligned(8);
};

struct net_device_ops {
	int (*ndo_open)(struct net_device *dev);
	int (*ndo_stop)(struct net_device *dev);
	netdev_tx_t (*ndo_start_xmit)(struct sk_buff *skb, struct net_device *dev);
	int (*ndo_set_mac_address)(struct net_device *dev, void *addr);
};

struct net_device {
	char name[16];
	unsigned long state;
	const struct net_device_ops *netdev_ops;
	enum netdev_features features;
	unsigned int flags, mtu;
	unsigned char dev_addr[6];
	struct list_head dev_list;
	struct hlist_node name_hlist;
	spinlock_t tx_lock;
	u8 priv[] __aligned(8);
};

int register_netdev(struct net_device *dev);

#endif
