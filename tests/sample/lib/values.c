/* Values that need the widest kinds: 64-bit enumerators, 128-bit integers, arrays of arrays. */
#include <linux/netdevice.h>

enum wide {
	WIDE_SMALL = 1,
	WIDE_LARGE = 0x123456789abcdefULL,
};

enum wide_signed {
	WIDE_NEGATIVE = -1,
	WIDE_POSITIVE = 0x100000000LL,
};

typedef u8 mac_t[6];
typedef const volatile u32 *iomem_t;
typedef iomem_t regs_t;
typedef regs_t bar_t;

struct matrix {
	enum wide wide;
	enum wide_signed wide_signed;
	u128 product;
	int cell[3][4][5];
	mac_t macs[2];
	bar_t bar;
	int (*(*table[2])(int))(char);
};

struct matrix the_matrix = { .wide = WIDE_LARGE, .wide_signed = WIDE_NEGATIVE };
unsigned int loopback_mtu = 65536;

int register_netdev(struct net_device *dev)
{
	dev->mtu = loopback_mtu;
	dev->features = NETIF_F_SG | NETIF_F_HW_FAR;
	return dev->netdev_ops->ndo_open(dev) + the_matrix.cell[2][3][4];
}
