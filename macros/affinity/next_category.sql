{#-
The likeliest category of each customer's next order, as a query with one row per customer. It is
one bought before, or the one that most often follows the last.

A customer's own orders are counted, and to them are added orders that were like everybody's:
spread as those that followed the customer's last category, to which in turn the weight of ten
orders like all is added. How many orders everybody counts for is what would have foretold all
orders best, each from the customer's orders before it. (A Dirichlet prior on either level;
D. MacKay and L. Peto, "A hierarchical Dirichlet language model", 1995.)

Arguments:
  steps   rows of category_steps that are known; next_category is null where it is not
-#}
{% macro next_category(steps) -%}
    with overall as (
        select
            category,
            count(*) / cast(sum(count(*)) over () as double) as share
        from {{ steps }}
        group by category
    ),

    followed as (
        select
            category as last_category,
            next_category as category,
            count(*) as n_steps
        from {{ steps }}
        where next_category is not null
        group by category, next_category
    ),

    follows as (
        select
            froms.category as last_category,
            overall.category,
            (coalesce(followed.n_steps, 0) + 10 * overall.share)
            / (
                10 + sum(coalesce(followed.n_steps, 0))
                    over (partition by froms.category)
            ) as share
        from overall as froms
        cross join overall
        left join followed
            on
                froms.category = followed.last_category
                and overall.category = followed.category
    ),

    -- Each order with what was known of its customer before it.
    tried as (
        select
            category,
            order_number - 1 as n_before,
            row_number() over (
                partition by customer_id, category
                order by order_number nulls last
            ) - 1 as n_own_before,
            lag(category) over (
                partition by customer_id
                order by order_number nulls last
            ) as last_category
        from {{ steps }}
    ),

    weights_tried as (
        {%- for weight in [0.5, 1, 2, 5, 10, 20, 50] %}
        select cast({{ weight }} as double) as weight
        union all
        {%- endfor %}
        select cast(100 as double) as weight
    ),

    likelihoods as (
        select
            weights_tried.weight,
            sum({{ perennial.exact(
                'ln((tried.n_own_before + weights_tried.weight * follows.share)'
                ~ ' / (tried.n_before + weights_tried.weight))'
            ) }}) as log_likelihood
        from tried
        inner join follows
            on
                tried.last_category = follows.last_category
                and tried.category = follows.category
        cross join weights_tried
        group by weights_tried.weight
    ),

    -- Where nobody has come back, nothing tells them apart, and others count for the least.
    weights as (
        select
            weights_tried.weight,
            row_number() over (
                order by
                    likelihoods.log_likelihood desc nulls last,
                    weights_tried.weight nulls last
            ) as place
        from weights_tried
        left join likelihoods
            on weights_tried.weight = likelihoods.weight
    ),

    own as (
        select
            customer_id,
            category,
            count(*) as n_own
        from {{ steps }}
        group by customer_id, category
    ),

    lasts as (
        select
            customer_id,
            category as last_category,
            order_number as n_orders
        from {{ steps }}
        where next_category is null
    ),

    likeliest as (
        select
            last_category,
            category,
            row_number() over (
                partition by last_category
                order by share desc nulls last, category nulls last
            ) as place
        from follows
    ),

    possible as (
        select
            customer_id,
            category
        from own
        union
        select
            lasts.customer_id,
            likeliest.category
        from lasts
        inner join likeliest
            on lasts.last_category = likeliest.last_category
        where likeliest.place = 1
    ),

    foretold as (
        select
            possible.customer_id,
            possible.category,
            lasts.last_category,
            (coalesce(own.n_own, 0) + weights.weight * follows.share)
            / (lasts.n_orders + weights.weight) as probability
        from possible
        inner join lasts
            on possible.customer_id = lasts.customer_id
        inner join follows
            on
                lasts.last_category = follows.last_category
                and possible.category = follows.category
        inner join weights
            on weights.place = 1
        left join own
            on
                possible.customer_id = own.customer_id
                and possible.category = own.category
    ),

    placed as (
        select
            *,
            row_number() over (
                partition by customer_id
                order by round(probability, 12) desc nulls last, category nulls last
            ) as place
        from foretold
    )

    select
        customer_id,
        category,
        last_category,
        probability
    from placed
    where place = 1
{%- endmacro %}
