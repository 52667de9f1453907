{#-
Everybody who bought something first, in each of the segments that newcomers are told apart by, as a
query with one row per segment, customer and product.

Arguments:
  purchases   rows of first_purchases that are known
-#}
{% macro newcomer_members(purchases) -%}
    {%- set segment_types = [
        'all',
        'country',
        'channel',
        'first_device',
        'first_viewed_category',
        'first_viewed_product',
    ] -%}
    {%- for segment_type in segment_types %}
    select
        '{{ segment_type }}' as segment_type,
        {{ "'all'" if segment_type == 'all' else segment_type }} as segment,
        customer_id,
        product_id
    from {{ purchases }}
    {%- if segment_type != 'all' %}
    where {{ segment_type }} is not null
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#-
What newcomers of each segment should be shown: the products that most first orders of it held, as
a query with one row per segment and product, places 1 to 10. A share of few first orders says little:
to each segment twenty are added that were like everybody's.

Arguments:
  purchases   rows of first_purchases that are known
-#}
{% macro newcomer_lists(purchases) -%}
    with members as (
        {{ perennial.newcomer_members(purchases) | indent(4) }}
    ),

    segments as (
        select
            segment_type,
            segment,
            count(distinct customer_id) as n_newcomers
        from members
        group by all
    ),

    bought as (
        select
            segment_type,
            segment,
            product_id,
            count(distinct customer_id) as n_buyers
        from members
        group by all
    ),

    everybody as (
        select
            bought.product_id,
            bought.n_buyers / cast(segments.n_newcomers as double) as share,
            row_number() over (
                order by
                    bought.n_buyers desc nulls last,
                    bought.product_id nulls last
            ) as place
        from bought
        inner join segments
            on
                bought.segment_type = segments.segment_type
                and bought.segment = segments.segment
        where bought.segment_type = 'all'
    ),

    -- What nobody of a segment bought can be among its ten only from the ten of everybody.
    candidates as (
        select
            segment_type,
            segment,
            product_id,
            n_buyers
        from bought
        union all
        select
            segments.segment_type,
            segments.segment,
            everybody.product_id,
            0 as n_buyers
        from segments
        cross join everybody
        where everybody.place <= 10
    ),

    counted as (
        select
            segment_type,
            segment,
            product_id,
            max(n_buyers) as n_buyers
        from candidates
        group by all
    ),

    scored as (
        select
            segments.segment_type,
            segments.segment,
            counted.product_id,
            segments.n_newcomers,
            counted.n_buyers,
            (counted.n_buyers + 20 * everybody.share)
            / (segments.n_newcomers + 20) as score
        from counted
        inner join segments
            on
                counted.segment_type = segments.segment_type
                and counted.segment = segments.segment
        inner join everybody
            on counted.product_id = everybody.product_id
    )

    select
        *,
        row_number() over (
            partition by segment_type, segment
            order by
                round(score, 12) desc nulls last,
                product_id nulls last
        ) as place
    from scored
    qualify place <= 10
{%- endmacro %}
