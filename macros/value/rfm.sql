{#-
RFM scores and segments of customers at given moments, as a query with one row per row of
`buyers`: its columns, the three scores and the segment of the seed rfm_segments.

Arguments:
  buyers   a relation of moment_on, customer_id, recency_days, frequency, monetary_amount
-#}
{% macro rfm_segments_of(buyers) -%}
    -- Values at which a fifth, two fifths, … of the customers lie: cutting by value rather than
    -- by rank keeps customers with equal values in the same score.
    with cuts as (
        select
            {%- for measure, column in [
                ('recency', 'recency_days'), ('frequency', 'frequency'),
                ('monetary', 'monetary_amount')
            ] %}
            {%- for n in [1, 2, 3, 4] %}
            percentile_disc(0.{{ 2 * n }}) within group (order by {{ column }})
                as {{ measure }}_{{ n }},
            {%- endfor %}
            {%- endfor %}
            moment_on
        from {{ buyers }}
        group by moment_on
    ),

    scored as (
        select
            buyers.*,
            -- Few days since the last order are good, so recency counts from the other side.
            5
            {%- for n in [1, 2, 3, 4] %}
            - cast(buyers.recency_days > cuts.recency_{{ n }} as integer)
            {%- endfor %} as recency_score,
            1
            {%- for n in [1, 2, 3, 4] %}
            + cast(buyers.frequency > cuts.frequency_{{ n }} as integer)
            {%- endfor %} as frequency_score,
            1
            {%- for n in [1, 2, 3, 4] %}
            + cast(buyers.monetary_amount > cuts.monetary_{{ n }} as integer)
            {%- endfor %} as monetary_score
        from {{ buyers }} as buyers
        inner join cuts
            on buyers.moment_on = cuts.moment_on
    )

    select
        scored.*,
        segments.segment
    from scored
    left join {{ ref('perennial', 'rfm_segments') }} as segments
        on
            scored.recency_score = segments.recency_score
            and scored.frequency_score = segments.frequency_score
            and scored.monetary_score = segments.monetary_score
{%- endmacro %}
