/* A network device that gives back what it gets: a module of more than one file. */
#include "loopy.h"

/* A name that both files have, each for itself. */
static noinline __used int check(const struct loopy_priv *priv)
{
	return priv->carrier ? 0 : -100;
}

static netdev_tx_t loopy_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct loopy_priv *priv = (struct loopy_priv *)dev->priv;

	if (check(priv))
		return NETDEV_TX_BUSY;
	priv->tx.packets++;
	priv->tx.bytes += skb->len;
	list_add(&skb->list, &priv->queue);
	counters_count(0);
	return NETDEV_TX_OK;
}

static int loopy_open(struct net_device *dev)
{
	struct loopy_priv *priv = (struct loopy_priv *)dev->priv;

	INIT_LIST_HEAD(&priv->queue);
	priv->dev = dev;
	priv->carrier = loopy_ethtool_ops.get_link(priv);
	return 0;
}

static const struct net_device_ops loopy_ops = {
	.ndo_open = loopy_open,
	.ndo_start_xmit = loopy_xmit,
};

int init_module(void)
{
	static struct net_device loopy = { .name = "loopy0" };

	loopy.netdev_ops = &loopy_ops;
	return register_netdev(&loopy);
}
