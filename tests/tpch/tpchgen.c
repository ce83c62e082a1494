/*
 * tpchgen.c - rows of the TPC-H schema, by the rules of the specification's clause 4.2.
 *
 *     tpchgen SCALE SEED TABLE                 a table in COPY text form on standard output
 *     tpchgen SCALE SEED rf1_orders SET        RF1: new orders of one refresh set (0.1 % of orders)
 *     tpchgen SCALE SEED rf1_lineitem SET      RF1: their line items
 *     tpchgen SCALE SEED rf2 SET               RF2: keys of the orders to delete, one per line
 *
 * Every row has a random stream of its own, seeded by (seed, kind, row): any table can be made alone, orders know the prices of their
 * line items, and the same arguments always give the same bytes.  The values are not those of the TPC's own program, their
 * distributions are.  Order keys are sparse: of every 32 keys the first 8 are loaded, the next 24 are for RF1.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N(a) ((int) (sizeof(a) / sizeof((a)[0])))
#define START_DATE 8035					/* 1992-01-01 in days since 1970 */
#define CURRENT_DATE 9298				/* 1995-06-17 */
#define ORDER_DAYS 2406					/* order dates end 151 days before 1998-12-31 */

typedef struct Rng
{
	uint64_t	state;
} Rng;

typedef struct Order
{
	long		key;
	int			date;
	int			lines;
	char		status;
	long long	total;				/* cents */
} Order;

typedef struct Line
{
	long		part;
	long		supp;
	int			quantity;
	long		price;				/* cents */
	int			discount;
	int			tax;
	int			ship;
	int			commit;
	int			receipt;
} Line;

enum Kind
{
	K_SUPPLIER = 1, K_PART, K_PARTSUPP, K_CUSTOMER, K_ORDER, K_LINE, K_TEXT
};

static const char *const regions[] = {"AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"};
static const struct
{
	const char *name;
	int			region;
}			nations[] =
{
	{"ALGERIA", 0}, {"ARGENTINA", 1}, {"BRAZIL", 1}, {"CANADA", 1}, {"EGYPT", 4}, {"ETHIOPIA", 0}, {"FRANCE", 3}, {"GERMANY", 3},
	{"INDIA", 2}, {"INDONESIA", 2}, {"IRAN", 4}, {"IRAQ", 4}, {"JAPAN", 2}, {"JORDAN", 4}, {"KENYA", 0}, {"MOROCCO", 0},
	{"MOZAMBIQUE", 0}, {"PERU", 1}, {"CHINA", 2}, {"ROMANIA", 3}, {"SAUDI ARABIA", 4}, {"VIETNAM", 2}, {"RUSSIA", 3},
	{"UNITED KINGDOM", 3}, {"UNITED STATES", 1}
};
static const char *const colors[] = {
	"almond", "antique", "aquamarine", "azure", "beige", "bisque", "black", "blanched", "blue", "blush", "brown", "burlywood", "burnished",
	"chartreuse", "chiffon", "chocolate", "coral", "cornflower", "cornsilk", "cream", "cyan", "dark", "deep", "dim", "dodger", "drab",
	"firebrick", "floral", "forest", "frosted", "gainsboro", "ghost", "goldenrod", "green", "grey", "honeydew", "hot", "indian", "ivory",
	"khaki", "lace", "lavender", "lawn", "lemon", "light", "lime", "linen", "magenta", "maroon", "medium", "metallic", "midnight", "mint",
	"misty", "moccasin", "navajo", "navy", "olive", "orange", "orchid", "pale", "papaya", "peach", "peru", "pink", "plum", "powder", "puff",
	"purple", "red", "rose", "rosy", "royal", "saddle", "salmon", "sandy", "seashell", "sienna", "sky", "slate", "smoke", "snow", "spring",
	"steel", "tan", "thistle", "tomato", "turquoise", "violet", "wheat", "white", "yellow"
};
static const char *const type1[] = {"STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"};
static const char *const type2[] = {"ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"};
static const char *const type3[] = {"TIN", "NICKEL", "BRASS", "STEEL", "COPPER"};
static const char *const size1[] = {"SM", "LG", "MED", "JUMBO", "WRAP"};
static const char *const size2[] = {"CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"};
static const char *const segments[] = {"AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"};
static const char *const priorities[] = {"1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"};
static const char *const instructions[] = {"DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"};
static const char *const modes[] = {"REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"};

/* A sentence is: adverb, adjective, noun, verb, preposition, "the", noun; comments are cut out of a row of them. */
static const char *const nouns[] = {
	"packages", "requests", "accounts", "deposits", "foxes", "ideas", "theodolites", "instructions", "dependencies", "excuses", "platelets",
	"asymptotes", "courts", "dolphins", "multipliers", "sauternes", "warthogs", "frets", "pinto beans", "pearls"
};
static const char *const verbs[] = {
	"sleep", "wake", "are", "cajole", "haggle", "nag", "use", "boost", "affix", "detect", "integrate", "maintain", "nod", "was", "lose",
	"sublate", "solve", "thrash", "promise", "engage"
};
static const char *const adjectives[] = {
	"special", "pending", "unusual", "express", "furious", "sly", "careful", "blithe", "quick", "fluffy", "slow", "quiet", "ruthless", "thin",
	"close", "dogged", "daring", "brave", "stealthy", "permanent", "enticing", "idle", "busy", "regular", "final", "ironic", "even", "bold",
	"silent"
};
static const char *const adverbs[] = {
	"sometimes", "always", "never", "furiously", "slyly", "carefully", "blithely", "quickly", "fluffily", "slowly", "quietly", "ruthlessly"
};
static const char *const prepositions[] = {
	"about", "above", "according to", "across", "after", "against", "along", "among", "around", "at", "before", "behind", "beneath", "beside",
	"between", "beyond", "by", "despite", "during", "except", "for", "from", "in place of", "inside", "instead of", "into", "near", "of"
};

static double scale;
static uint64_t seed;

/* ---------------------------------------------------------------- numbers */

static uint64_t
next(Rng *r)
{
	uint64_t	z = (r->state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static Rng
stream(enum Kind kind, long row)
{
	Rng			r = {seed * 0x2545f4914f6cdd1du + (uint64_t) kind * 0x632be59bd9b4e019u};

	r.state = next(&r) ^ ((uint64_t) row * 0xd6e8feb86659fd93u);
	(void) next(&r);
	return r;
}

static long
between(Rng *r, long low, long high)
{
	return low + (long) (next(r) % (uint64_t) (high - low + 1));
}

static const char *
one_of(Rng *r, const char *const *list, int n)
{
	return list[between(r, 0, n - 1)];
}

static long
rows_of(double base)
{
	long		n = (long) (base * scale + 0.5);

	return n < 4 ? 4 : n;
}

static long supplier_count(void) { return rows_of(10000); }
static long part_count(void) { return rows_of(200000); }
static long customer_count(void) { return rows_of(150000); }
static long order_count(void) { return rows_of(1500000); }
static long set_count(void) { return rows_of(1500); }

/* ---------------------------------------------------------------- text */

static void
put_money(long long cents)
{
	long long	a = llabs(cents);

	printf("%s%lld.%02lld", cents < 0 ? "-" : "", a / 100, a % 100);
}

/* Gregorian date of a day since 1970. */
static void
put_date(int day)
{
	int			z = day + 719468;
	int			era = z / 146097;
	int			doe = z - era * 146097;
	int			yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int			doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int			mp = (5 * doy + 2) / 153;
	int			month = mp < 10 ? mp + 3 : mp - 9;

	printf("%04d-%02d-%02d", yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) / 5 + 1);
}

static void
put_address(Rng *r)
{
	static const char set[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ, ";
	int			n = (int) between(r, 10, 40);

	for (int i = 0; i < n; i++)
		putchar(i == 0 || i == n - 1 ? set[between(r, 0, 61)] : set[between(r, 0, 63)]);
}

static void
make_text(Rng *r, char *out, int low, int high)
{
	char		buf[512];
	int			len = (int) between(r, low, high);
	int			n = 0;

	while (n < len)
		n += snprintf(buf + n, sizeof(buf) - n, "%s%s %s %s %s %s the %s.", n ? " " : "", one_of(r, adverbs, N(adverbs)),
					  one_of(r, adjectives, N(adjectives)), one_of(r, nouns, N(nouns)), one_of(r, verbs, N(verbs)),
					  one_of(r, prepositions, N(prepositions)), one_of(r, nouns, N(nouns)));
	memcpy(out, buf, len);
	out[len] = '\0';
}

static void
put_text(Rng *r, int low, int high)
{
	char		buf[512];

	make_text(r, buf, low, high);
	fputs(buf, stdout);
}

static void
put_phone(Rng *r, int nation)
{
	printf("%02d-%03ld-%03ld-%04ld", nation + 10, between(r, 100, 999), between(r, 100, 999), between(r, 1000, 9999));
}

/* ---------------------------------------------------------------- tables */

static long
part_price(long part)
{
	return 90000 + part / 10 % 20001 + 100 * (part % 1000);
}

/* The i-th (0..3) of the suppliers of a part.  The modulo does nothing from 240 suppliers on; with fewer the four would not differ. */
static long
part_supplier(long part, int i)
{
	long		s = supplier_count();

	return (part + i * (s / 4 + (part - 1) / s % (s < 24 ? 1 : s / 12))) % s + 1;
}

static void
put_region(void)
{
	for (int i = 0; i < N(regions); i++)
	{
		Rng			r = stream(K_TEXT, i);

		printf("%d\t%s\t", i, regions[i]);
		put_text(&r, 31, 115);
		putchar('\n');
	}
}

static void
put_nation(void)
{
	for (int i = 0; i < N(nations); i++)
	{
		Rng			r = stream(K_TEXT, 100 + i);

		printf("%d\t%s\t%d\t", i, nations[i].name, nations[i].region);
		put_text(&r, 31, 114);
		putchar('\n');
	}
}

/* Of 10,000 suppliers 5 have complaints and 5 recommendations in their comment; small scales keep at least one of each. */
static void
put_supplier(long key)
{
	Rng			r = stream(K_SUPPLIER, key);
	int			nation = (int) between(&r, 0, 24);
	char		text[512];

	printf("%ld\tSupplier#%09ld\t", key, key);
	put_address(&r);
	printf("\t%d\t", nation);
	put_phone(&r, nation);
	putchar('\t');
	put_money(between(&r, -99999, 999999));
	make_text(&r, text, 50, 100);
	if (key % 2000 == 7)
		memcpy(text + 3, "Customer wakes Complaints", 25);
	else if (key % 2000 == 13)
		memcpy(text + 3, "Customer wakes Recommends", 25);
	printf("\t%s\n", text);
}

static void
put_part(long key)
{
	Rng			r = stream(K_PART, key);
	int			word[5];
	int			m = (int) between(&r, 1, 5);

	printf("%ld\t", key);
	for (int i = 0; i < 5; i++)
	{
		int			j;

		do
		{
			word[i] = (int) between(&r, 0, N(colors) - 1);
			for (j = 0; j < i && word[j] != word[i]; j++)
				;
		} while (j < i);
		printf("%s%s", i ? " " : "", colors[word[i]]);
	}
	printf("\tManufacturer#%d\tBrand#%d%ld\t", m, m, between(&r, 1, 5));
	printf("%s ", one_of(&r, type1, N(type1)));
	printf("%s ", one_of(&r, type2, N(type2)));
	printf("%s\t", one_of(&r, type3, N(type3)));
	printf("%ld\t", between(&r, 1, 50));
	printf("%s ", one_of(&r, size1, N(size1)));
	printf("%s\t", one_of(&r, size2, N(size2)));
	put_money(part_price(key));
	putchar('\t');
	put_text(&r, 5, 22);
	putchar('\n');
}

static void
put_partsupp(long part)
{
	Rng			r = stream(K_PARTSUPP, part);

	for (int i = 0; i < 4; i++)
	{
		printf("%ld\t%ld\t%ld\t", part, part_supplier(part, i), between(&r, 1, 9999));
		put_money(between(&r, 100, 100000));
		putchar('\t');
		put_text(&r, 49, 198);
		putchar('\n');
	}
}

static void
put_customer(long key)
{
	Rng			r = stream(K_CUSTOMER, key);
	int			nation = (int) between(&r, 0, 24);

	printf("%ld\tCustomer#%09ld\t", key, key);
	put_address(&r);
	printf("\t%d\t", nation);
	put_phone(&r, nation);
	putchar('\t');
	put_money(between(&r, -99999, 999999));
	printf("\t%s\t", one_of(&r, segments, N(segments)));
	put_text(&r, 29, 116);
	putchar('\n');
}

/* ---------------------------------------------------------------- orders and their line items */

static void
make_line(Line *l, const Order *o, int number)
{
	Rng			r = stream(K_LINE, o->key * 8 + number);

	l->part = between(&r, 1, part_count());
	l->supp = part_supplier(l->part, (int) between(&r, 0, 3));
	l->quantity = (int) between(&r, 1, 50);
	l->price = l->quantity * part_price(l->part);
	l->discount = (int) between(&r, 0, 10);
	l->tax = (int) between(&r, 0, 8);
	l->ship = o->date + (int) between(&r, 1, 121);
	l->commit = o->date + (int) between(&r, 30, 90);
	l->receipt = l->ship + (int) between(&r, 1, 30);
}

static Order
make_order(long key)
{
	Rng			r = stream(K_ORDER, key);
	Order		o = {.key = key};
	int			open = 0;

	o.date = START_DATE + (int) between(&r, 0, ORDER_DAYS - 1);
	o.lines = (int) between(&r, 1, 7);
	for (int i = 1; i <= o.lines; i++)
	{
		Line		l;

		make_line(&l, &o, i);
		open += l.ship > CURRENT_DATE;
		o.total += (long long) l.price * (100 + l.tax) * (100 - l.discount) / 10000;
	}
	o.status = open == 0 ? 'F' : open == o.lines ? 'O' : 'P';
	return o;
}

static void
put_order(long key)
{
	Order		o = make_order(key);
	Rng			r = stream(K_TEXT, 1000 + key);
	long		customer;

	/* A third of the customers have no orders. */
	do
		customer = between(&r, 1, customer_count());
	while (customer % 3 == 0);
	printf("%ld\t%ld\t%c\t", key, customer, o.status);
	put_money(o.total);
	putchar('\t');
	put_date(o.date);
	printf("\t%s\tClerk#%09ld\t0\t", one_of(&r, priorities, N(priorities)), between(&r, 1, rows_of(1000)));
	put_text(&r, 19, 78);
	putchar('\n');
}

static void
put_lines(long key)
{
	Order		o = make_order(key);

	for (int i = 1; i <= o.lines; i++)
	{
		Rng			r = stream(K_TEXT, -(key * 8 + i));
		Line		l;

		make_line(&l, &o, i);
		printf("%ld\t%ld\t%ld\t%d\t%d\t", key, l.part, l.supp, i, l.quantity);
		put_money(l.price);
		printf("\t0.%02d\t0.%02d\t%c\t%c\t", l.discount, l.tax, l.receipt > CURRENT_DATE ? 'N' : between(&r, 0, 1) ? 'R' : 'A',
			   l.ship > CURRENT_DATE ? 'O' : 'F');
		put_date(l.ship);
		putchar('\t');
		put_date(l.commit);
		putchar('\t');
		put_date(l.receipt);
		printf("\t%s\t%s\t", one_of(&r, instructions, N(instructions)), one_of(&r, modes, N(modes)));
		put_text(&r, 10, 43);
		putchar('\n');
	}
}

static long
loaded_key(long i)
{
	return i / 8 * 32 + i % 8 + 1;
}

static long
refresh_key(long i)
{
	return i / 24 * 32 + 8 + i % 24 + 1;
}

/* ---------------------------------------------------------------- main */

static void
put_key(long key)
{
	printf("%ld\n", key);
}

static int
put_refresh(const char *what, long set)
{
	int			delete = strcmp(what, "rf2") == 0;
	void		(*put) (long) = delete ? put_key : strcmp(what, "rf1_orders") == 0 ? put_order : strcmp(what, "rf1_lineitem") == 0 ? put_lines : NULL;

	if (put == NULL)
		return 2;
	for (long i = set * set_count(); i < (set + 1) * set_count(); i++)
		put(delete ? loaded_key(i) : refresh_key(i));
	return 0;
}

static int
put_table(const char *name)
{
	const struct
	{
		const char *name;
		long		rows;
		void		(*put) (long);
		int			order;
	}			tables[] =
	{
		{"supplier", supplier_count(), put_supplier, 0}, {"part", part_count(), put_part, 0}, {"partsupp", part_count(), put_partsupp, 0},
		{"customer", customer_count(), put_customer, 0}, {"orders", order_count(), put_order, 1}, {"lineitem", order_count(), put_lines, 1}
	};

	if (strcmp(name, "region") == 0)
		put_region();
	else if (strcmp(name, "nation") == 0)
		put_nation();
	else
	{
		int			t;

		for (t = 0; t < N(tables) && strcmp(name, tables[t].name) != 0; t++)
			;
		if (t == N(tables))
			return 2;
		for (long i = 0; i < tables[t].rows; i++)
			tables[t].put(tables[t].order ? loaded_key(i) : i + 1);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	static char buffer[1 << 20];
	int			code = 2;

	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	if (argc >= 4)
	{
		scale = atof(argv[1]);
		seed = strtoull(argv[2], NULL, 10);
		if (scale > 0)
			code = argc > 4 ? put_refresh(argv[3], atol(argv[4])) : put_table(argv[3]);
	}
	if (code == 2)
		fprintf(stderr, "usage: tpchgen SCALE SEED TABLE | tpchgen SCALE SEED rf1_orders|rf1_lineitem|rf2 SET\n");
	return fflush(stdout) != 0 ? 1 : code;
}
