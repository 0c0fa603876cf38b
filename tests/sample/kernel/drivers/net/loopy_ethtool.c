/* What loopy tells about itself. */
#include "loopy.h"

static noinline __used int check(const struct loopy_priv *priv)
{
	return priv->dev ? 1 : 0;
}

static u32 loopy_get_link(struct loopy_priv *priv)
{
	return check(priv);
}

static void loopy_get_stats(const struct loopy_priv *priv, struct loopy_stats *out)
{
	*out = priv->rx;
}

const struct loopy_ethtool_ops loopy_ethtool_ops = {
	.get_link = loopy_get_link,
	.get_stats = loopy_get_stats,
};
