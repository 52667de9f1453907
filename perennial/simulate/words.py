"""The shop's words: names of products, reviews by rating, questions and their answers.

All of it is templates of the project's own; nothing is taken from a corpus. Reviews are
put together from an opening that agrees with the rating and a remark about one aspect.
"""

from __future__ import annotations

# Category -> (winter weight, median price, nouns, adjectives, Chinese word for its goods).
CATEGORIES = {
    "coffee": (
        1.1,
        14,
        ("Espresso Roast", "Filter Roast", "Decaf Blend", "Cold Brew Pack"),
        ("Dark", "Mild", "Highland", "House"),
        "咖啡",
    ),
    "tea": (
        1.5,
        11,
        ("Green Tea", "Rooibos", "Chai Mix", "Herbal Infusion"),
        ("Organic", "Spiced", "Garden", "Morning"),
        "茶",
    ),
    "kitchen": (
        1.2,
        38,
        ("Kettle", "Hand Grinder", "Stone Mug", "Filter Holder", "Teapot"),
        ("Compact", "Classic", "Steel", "Glazed"),
        "厨具",
    ),
    "knitwear": (
        2.6,
        59,
        ("Wool Scarf", "Cardigan", "Beanie", "Shawl"),
        ("Chunky", "Fine", "Nordic", "Ribbed"),
        "针织衫",
    ),
    "outdoor": (
        0.5,
        72,
        ("Rucksack", "Camping Lamp", "Hammock", "Flask", "Picnic Rug"),
        ("Trail", "Light", "Foldable", "Summit"),
        "户外装备",
    ),
    "footwear": (
        1.0,
        85,
        ("Trail Shoe", "Slipper", "Rain Boot", "Sandal"),
        ("Soft", "Grippy", "Waterproof", "Everyday"),
        "鞋子",
    ),
    "home": (
        1.3,
        34,
        ("Candle", "Blanket", "Cushion", "Table Lamp", "Vase"),
        ("Linen", "Amber", "Quiet", "Woven"),
        "家居用品",
    ),
    "skincare": (
        1.2,
        24,
        ("Hand Cream", "Face Oil", "Lip Balm", "Soap Bar"),
        ("Gentle", "Almond", "Sea Salt", "Unscented"),
        "护肤品",
    ),
    "stationery": (
        1.0,
        16,
        ("Notebook", "Fountain Pen", "Ink Set", "Weekly Planner"),
        ("Dotted", "Pocket", "Brass", "Recycled"),
        "文具",
    ),
    "garden": (
        0.3,
        27,
        ("Seed Box", "Pruner", "Watering Can", "Planter"),
        ("Balcony", "Copper", "Heirloom", "Terracotta"),
        "园艺工具",
    ),
    "toys": (
        1.6,
        31,
        ("Wooden Train", "Puzzle", "Block Set", "Kite"),
        ("Little", "Rainbow", "Giant", "Travel"),
        "玩具",
    ),
    "pets": (
        1.0,
        19,
        ("Dog Lead", "Cat Bed", "Treat Jar", "Chew Toy"),
        ("Sturdy", "Cosy", "Natural", "Playful"),
        "宠物用品",
    ),
}

BRANDS = (
    "Alderwick",
    "Bramble & Co",
    "Corvane",
    "Dunmere",
    "Eastley",
    "Fjordal",
    "Glenhart",
    "Hollin",
    "Ivory Lane",
    "Juniperra",
    "Kestrow",
    "Lumenfield",
)

ASPECTS = ("quality", "delivery", "price", "size", "service")

# Sentiment band: 0 bad (1 and 2 stars), 1 mixed (3 stars), 2 good (4 and 5 stars).
TITLES = {
    "en": (
        ("Disappointed", "Not worth it", "Poor", "Would not buy again"),
        ("It is okay", "Mixed feelings", "Average", "Fine, not great"),
        ("Love it", "Excellent", "Very happy", "Highly recommended"),
    ),
    "zh": (
        ("很失望", "不值这个价", "质量差", "不会再买"),
        ("一般般", "还行吧", "有好有坏", "中规中矩"),
        ("非常喜欢", "太棒了", "很满意", "强烈推荐"),
    ),
}
# {noun} is the product's own noun in English and its category's word in Chinese.
OPENINGS = {
    "en": (
        (
            "I am really disappointed with this {noun}.",
            "The {noun} let me down within a week.",
            "Terrible {noun}, I sent it back.",
            "I expected much more from this {noun}.",
            "This {noun} is useless to me.",
            "Bad experience with the {noun}.",
        ),
        (
            "The {noun} is okay, nothing special.",
            "The {noun} does its job, with some flaws.",
            "An average {noun} all in all.",
            "I like some things about the {noun}, not others.",
        ),
        (
            "I love this {noun}.",
            "The {noun} is excellent, even better than expected.",
            "A wonderful {noun}, I use it every day.",
            "Great {noun}, would buy it again.",
            "Very happy with the {noun}.",
            "The best {noun} I have had.",
        ),
    ),
    "zh": (
        (
            "这款{noun}让我非常失望。",
            "{noun}用了一周就不行了。",
            "很差的{noun}，已经退货。",
            "{noun}和描述不符，太糟糕了。",
        ),
        (
            "这款{noun}还可以，没有什么特别的。",
            "{noun}一般，有优点也有缺点。",
            "中等水平的{noun}，凑合用。",
        ),
        (
            "非常喜欢这款{noun}！",
            "{noun}很好用，超出预期。",
            "很棒的{noun}，每天都在用。",
            "{noun}值得推荐，还会再买。",
        ),
    ),
}
# A remark of each aspect, by sentiment: bad, mixed, good.
REMARKS = {
    "en": {
        "quality": (
            "The quality is poor and it feels cheap.",
            "The quality is acceptable.",
            "The quality is superb.",
        ),
        "delivery": (
            "Delivery was late and the box arrived damaged.",
            "Delivery took about as long as promised.",
            "Delivery was fast and well packed.",
        ),
        "price": (
            "Far too expensive for what you get.",
            "The price is about right.",
            "Great value for the price.",
        ),
        "size": (
            "The size is wrong, much smaller than stated.",
            "The size is roughly as stated.",
            "The size is perfect.",
        ),
        "service": (
            "Customer service never answered me.",
            "Customer service was neutral.",
            "Customer service was friendly and helpful.",
        ),
    },
    "zh": {
        "quality": ("质量很差，做工粗糙。", "质量一般。", "质量非常好。"),
        "delivery": ("物流太慢，包装还破了。", "物流速度正常。", "物流很快，包装完好。"),
        "price": ("价格太贵，不值。", "价格还算合理。", "性价比很高。"),
        "size": ("尺寸不对，偏小很多。", "尺寸差不多。", "尺寸刚刚好。"),
        "service": ("客服一直不回复。", "客服态度一般。", "客服态度很好，很耐心。"),
    },
}

REFUND_REASONS = (
    "damaged",
    "does not fit",
    "not as described",
    "changed my mind",
    "late",
    "wrong item",
)

# Topic -> (questions en, questions zh, article title, article body).
TOPICS = {
    "shipping time": (
        (
            "When will my {name} arrive?",
            "How long does delivery of the {name} take?",
            "My parcel with the {name} has not come yet, where is it?",
        ),
        ("{name}什么时候能到？", "请问{name}发货要多久？"),
        "How long does delivery take?",
        "Parcels leave our warehouse within one working day. Delivery takes two to four days "
        "inside Europe and seven to twelve days elsewhere. The link in your dispatch e-mail "
        "shows where the parcel is.",
    ),
    "returns": (
        (
            "How do I return the {name}?",
            "Can I send the {name} back and get my money?",
            "I would like to exchange my {name}, what do I do?",
        ),
        ("{name}怎么退货？", "{name}可以换货吗？"),
        "How do I return or exchange something?",
        "You may send anything back within 30 days. Print the label from your account, put the "
        "goods in their box and hand it in at any parcel shop. We refund within five days of "
        "receiving it.",
    ),
    "payment": (
        (
            "My payment for the {name} failed, what now?",
            "Can I pay for the {name} by invoice?",
            "I was charged twice for the {name}.",
        ),
        ("买{name}付款失败怎么办？", "{name}可以货到付款吗？"),
        "Which ways of paying are there?",
        "We take cards, bank transfer and invoice. A failed payment is not charged; a second "
        "reservation on your card disappears within three days.",
    ),
    "coupon": (
        ("Why does my coupon not work with the {name}?", "Can I use two codes for the {name}?"),
        ("为什么优惠券不能用于{name}？", "{name}可以叠加优惠吗？"),
        "Why does my coupon not work?",
        "A coupon works once, within its dates, above its smallest order and not together with "
        "another code. Gift cards are excluded.",
    ),
    "warranty": (
        ("My {name} is broken, is there a warranty?", "How long is the guarantee on the {name}?"),
        ("{name}坏了能保修吗？", "{name}保修多久？"),
        "What does the warranty cover?",
        "Every product has a warranty of two years against faults in material and making. Send "
        "us a photo and the order number and we repair or replace it.",
    ),
    "care": (
        ("How do I clean the {name}?", "How should I look after my {name}?"),
        ("{name}怎么清洗？", "{name}怎么保养？"),
        "How do I clean and look after the {name}?",
        "Clean the {name} with a soft cloth and lukewarm water, dry it well and keep it out of "
        "direct sun. Do not use bleach.",
    ),
    "sizing": (
        ("What size of the {name} should I take?", "How large is the {name} exactly?"),
        ("{name}的尺寸怎么选？", "{name}有多大？"),
        "Which size of the {name} is right?",
        "The {name} comes true to size. Measure first and compare with the chart on its page; "
        "between two sizes take the larger.",
    ),
}
# Topics that have an article for each product instead of one for the shop.
PRODUCT_TOPICS = ("care", "sizing")

CAMPAIGN_NAMES = (
    "Welcome back",
    "New arrivals",
    "Members' week",
    "Spring picks",
    "Last chance",
    "Favourites restocked",
    "Autumn warmers",
    "We miss you",
    "Gift guide",
    "Weekend special",
)
