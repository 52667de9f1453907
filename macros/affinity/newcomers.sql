{#-
What newcomers of each segment should be shown: the products that most first orders of it held, as
a query with one row per segment and product, the best first. A share of few first orders says little:
to each segment twenty are added that were like everybody's.

Arguments:
  purchases   rows of first_purchases that are known
-#}
{% macro newcomer_lists(purchases) -%}
    with members as (
        {%- for segment_type in ['all', 'country', 'channel', 'first_device'] %}
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
            bought.n_buyers / cast(segments.n_newcomers as double) as share
        from bought
        inner join segments
            on
                bought.segment_type = segments.segment_type
                and bought.segment = segments.segment
        where bought.segment_type = 'all'
    ),

    scored as (
        select
            segments.segment_type,
            segments.segment,
            everybody.product_id,
            segments.n_newcomers,
            coalesce(bought.n_buyers, 0) as n_buyers,
            (coalesce(bought.n_buyers, 0) + 20 * everybody.share)
            / (segments.n_newcomers + 20) as score
        from segments
        cross join everybody
        left join bought
            on
                segments.segment_type = bought.segment_type
                and segments.segment = bought.segment
                and everybody.product_id = bought.product_id
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
{%- endmacro %}
