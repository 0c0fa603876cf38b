/* Shared by the files of loopy. */
#ifndef LOOPY_H
#define LOOPY_H

#include <linux/module.h>
#include <linux/netdevice.h>

struct loopy_stats {
	u64 packets;
	u64 bytes;
};

struct loopy_priv {
	struct net_device *dev;
	struct loopy_stats rx, tx;
	struct list_head queue;
	bool carrier;
};

struct loopy_ethtool_ops {
	u32 (*get_link)(struct loopy_priv *priv);
	void (*get_stats)(const struct loopy_priv *priv, struct loopy_stats *out);
};

extern const struct loopy_ethtool_ops loopy_ethtool_ops;
void counters_count(unsigned which);

#endif
